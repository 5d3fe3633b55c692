"""Read and write the records that stubs and the host exchange; `sandbox/guest/stub/stub.c` says them all.

What is read comes from a program of the agent's, or from whoever poses as a stub: it is hostile data.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final

from cli_tools.command import MAXIMUM_BODY_BYTES
from cli_tools.errors import ActionError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_HEAD: Final = Struct(">cI")
LONGEST_WORDS_BYTES: Final = 256 * 1024
"""Of all the words of one call; what is longer belongs on its standard input."""
LONGEST_PARENT_BYTES: Final = 64
LARGEST_PIECE_BYTES: Final = 64 * 1024
SILENT_SECONDS: Final = 60.0
"""Without a piece of standard input; a pipe from a program that takes longer goes by way of a file."""
OUT: Final = b"o"
ERRORS: Final = b"e"
SEND_INPUT: Final = b"r"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a stub was called with."""

    words: tuple[str, ...]
    """Its name and its arguments; bytes that are not UTF-8 as lone surrogates."""
    parent: str
    """The action that its environment names; anybody can name any."""


class Caller:
    """One connection of a stub's.

    Args:
        received: Its bytes, in pieces; it ends when the caller has gone.
    """

    def __init__(self, received: AsyncIterator[bytes]) -> None:
        self._received = received
        self._waiting = bytearray()

    async def call(self) -> Call:
        """Read the call.

        Raises:
            EOFError: When the caller has gone before it was whole.
            UsageError: When it is no call, or a longer one than is read.
        """
        kind, length = await self._head()
        parent = ""
        if kind == b"p":
            parent = (await self._body(length, LONGEST_PARENT_BYTES)).decode("ascii", "replace")
            kind, length = await self._head()
        if kind != b"a":
            raise _no_call()
        words = (await self._body(length, LONGEST_WORDS_BYTES)).split(b"\0")
        if len(words) < 2 or words.pop():
            raise _no_call()
        return Call(words=tuple(word.decode("utf-8", "surrogateescape") for word in words), parent=parent)

    async def standard_input(self) -> bytes:
        """Read what the caller was told to send, to its end.

        Raises:
            EOFError: When the caller has gone.
            UsageError: When it is more than a body may be, or something else.
            ActionError: When nothing came for too long.
        """
        content = bytearray()
        while True:
            piece = await self._piece()
            if piece is None:
                return bytes(content)
            content += piece
            if len(content) > MAXIMUM_BODY_BYTES:
                raise UsageError(
                    "too-long",
                    f"standard input is longer than {MAXIMUM_BODY_BYTES} bytes, the most that is read",
                )

    async def _piece(self) -> bytes | None:
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                kind, length = await self._head()
                if kind == b"z" and length == 0:
                    return None
                if kind != b"d":
                    raise _no_call()
                return await self._body(length, LARGEST_PIECE_BYTES)
        except TimeoutError as error:
            why = f"no standard input came in {SILENT_SECONDS:.0f} s"
            raise ActionError("timeout", why, hint="`< /dev/null` where there is none") from error

    async def gone(self) -> None:
        """Wait until the caller has gone; one that goes on speaking is taken for gone."""
        if not self._waiting:
            await anext(self._received, b"")

    async def _head(self) -> tuple[bytes, int]:
        kind, length = _HEAD.unpack(await self._taken(_HEAD.size))
        return kind, length

    async def _body(self, length: int, most: int) -> bytes:
        if length > most:
            raise UsageError("too-long", f"{length} bytes in one call, at most {most} are read")
        return await self._taken(length)

    async def _taken(self, count: int) -> bytes:
        while len(self._waiting) < count:
            piece = await anext(self._received, b"")
            if not piece:
                raise EOFError
            self._waiting += piece
        taken = bytes(self._waiting[:count])
        del self._waiting[:count]
        return taken


def record(kind: bytes, content: bytes = b"") -> bytes:
    """Return one record."""
    return _HEAD.pack(kind, len(content)) + content


def exit_record(code: int) -> bytes:
    """Return the last record."""
    return record(b"x", bytes([code]))


def _no_call() -> UsageError:
    return UsageError("usage", "what came is no call of a command", hint="call it by its name on PATH")
