"""Leave out of an event stream what is no event: OpenAI's SDK takes an `id:` or a `retry:` alone for a reply.

An event without data is not told, and one without a name is a `message` (HTML, clause 9.2.6); Anthropic's SDK
would pass over it, an error too. A line ends with CR LF, LF or CR, however split. The SDKs copy an event once
for each of its lines and know no blank line of mixed ends, so both are held here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx2

from agent_runner.backends.failure import Failure, ModelServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_NAME: Final = b"event: message\n"
_MARK: Final = b"\xef\xbb\xbf"
"""Of the byte order, which may stand first: the SDKs would take it for a part of the first field's name."""
MOST_LINES: Final = 1_000
"""Of one event; those of the known servers have two or three."""
MOST_COPIED_BYTES: Final = 256 * 1024 * 1024
"""Lines of an event times its bytes: what an SDK copies at most to put it together."""


class EventsWithData(httpx2.AsyncByteStream):
    """Give the events of a stream that have data, each whole; every line that ended ends with LF.

    Args:
        inner: The stream's bytes, bounded.
    """

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner
        self._event = bytearray()
        self._lines = 0
        self._has_data = self._has_name = self._has_object = False
        self._begun = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give each event once its blank line is there, and last what no blank line ends.

        Raises:
            ModelServerError: When an event has more lines than any server's.
        """
        parts: list[bytes] = []  # of a line that has not ended: joined once, however long it becomes
        async for piece in self._inner:
            held = bool(parts) and parts[-1].endswith(b"\r")
            parts.append(piece)
            if not held and b"\n" not in piece and b"\r" not in piece:
                continue
            *lines, last = b"".join(parts).splitlines(keepends=True)
            if last.endswith(b"\n"):
                lines.append(last)
            parts = [] if last.endswith(b"\n") else [last]  # behind a CR an LF may come
            for event in filter(None, map(self._taken, lines)):
                yield event
        if parts and parts[-1].endswith(b"\r"):  # no LF came behind it: the line ended there
            last, parts = b"".join(parts), []
            if event := self._taken(last):
                yield event
        if rest := b"".join([bytes(self._event), *parts]):
            yield rest

    def _taken(self, line: bytes) -> bytes:
        """Take a line; return the event that it ends, empty where it ends none, or one without data."""
        words = line.rstrip(b"\r\n")
        if not self._begun:
            self._begun, words = True, words.removeprefix(_MARK)
        self._event += words + b"\n"
        self._lines += 1
        if self._lines > MOST_LINES or self._lines * len(self._event) > MOST_COPIED_BYTES:
            raise ModelServerError(
                f"the answer of the model's server has an event of {self._lines} lines and "
                f"{len(self._event)} bytes, which is none of a model's",
                failure=Failure(kind="broken"),
            )
        if words:
            said = words.removeprefix(b"data:").removeprefix(b" ") if words.startswith(b"data:") else b""
            self._has_object = self._has_object or (not self._has_data and said.lstrip().startswith(b"{"))
            self._has_data = self._has_data or bool(said)
            if words.startswith(b"event:"):  # the last one is the name, and an empty one is none
                self._has_name = bool(words.removeprefix(b"event:").removeprefix(b" "))
            return b""
        event = bytes(self._event) if self._has_data else b""
        if self._has_object and not self._has_name:  # the mark `[DONE]` stays without: it is no JSON
            event = event.removesuffix(b"\n") + _NAME + b"\n"
        self._event, self._lines = bytearray(), 0
        self._has_data = self._has_name = self._has_object = False
        return event

    async def aclose(self) -> None:
        """Close the connection."""
        await self._inner.aclose()
