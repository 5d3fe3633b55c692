"""Fetch a model's key by reference, when it is needed: from the environment, a file or a command.

The value never enters a command line, the ledger or a message; only the reference is shown.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent_runner.aside import aside
from agent_runner.backends.failure import CUT_MARK, Failure, ModelServerError
from agent_runner.output_pipe import end_read, output_pipe

if TYPE_CHECKING:
    from collections.abc import Mapping

MAXIMUM_BYTES: Final = 16 * 1024
COMMAND_SECONDS: Final = 30.0
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]+")
_HIDDEN: Final = "[key]"
_SHORTEST: Final = 4  # a shorter text is not looked for in messages: it would be found everywhere


class KeyReference(BaseModel):
    """Where a key is to be had: exactly one of the three."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """An environment variable's name."""
    file: Annotated[str, Field(min_length=1)] | None = None
    """A path; `~` is the home folder."""
    command: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None
    """A program and its arguments, which prints the key."""

    @model_validator(mode="after")
    def _exactly_one(self) -> KeyReference:
        if sum(given is not None for given in (self.env, self.file, self.command)) != 1:
            raise ValueError("expected exactly one of `env`, `file`, `command`")
        return self

    def __str__(self) -> str:
        """Return the reference as a person reads it; never the value."""
        if self.env is not None:
            return f"environment variable {self.env}"
        return f"file {self.file}" if self.file is not None else f"command {(self.command or ('',))[0]}"


@dataclass(frozen=True, slots=True)
class Key:
    """A key's value, which hides itself from representations."""

    value: str = field(repr=False)

    def hidden_from(self, text: str) -> str:
        """Return text without the key, and without its beginning where the text was cut within it.

        A server may echo it in an error.
        """
        if len(self.value) < _SHORTEST:
            return text
        *cut, last = text.replace(self.value, _HIDDEN).split(CUT_MARK)
        return CUT_MARK.join([*map(self._without_beginning, cut), last])

    def _without_beginning(self, text: str) -> str:
        """Return text that does not end with at least four characters of the key's beginning."""
        longest = min(len(self.value), len(text))
        for length in range(longest, _SHORTEST - 1, -1):
            if text.endswith(self.value[:length]):
                return text[:-length] + _HIDDEN
        return text


async def fetch_key(reference: KeyReference, environment: Mapping[str, str] | None = None) -> Key:
    """Return the key that a reference leads to.

    Raises:
        ModelServerError: When there is none, of kind `credential`.
    """
    if reference.env is not None:
        raw = (os.environ if environment is None else environment).get(reference.env, "").encode()
    elif reference.file is not None:
        raw = await _read_in_time(reference.file, reference)
    else:
        raw = await _printed(reference)
    text = raw.decode("ascii", "replace").strip()
    if not text:
        raise _no_key(reference, "is empty or not set")
    if not _PRINTABLE.fullmatch(text) or len(raw) > MAXIMUM_BYTES:
        raise _no_key(reference, "holds no key: expected one word of printable ASCII")
    return Key(text)


async def _read_in_time(path: str, reference: KeyReference) -> bytes:
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            read = await aside(_read, path)
            return await _told_by(read) if isinstance(read, Path) else read
    except TimeoutError as error:
        raise _no_key(reference, f"was not read within {COMMAND_SECONDS:.0f} s") from error
    except OSError as error:
        raise _no_key(reference, f"cannot be read: {error.strerror}") from error


async def _told_by(pipe: Path) -> bytes:
    """Wait in the loop for who writes: a thread left in `open` would take the key from the next try."""
    async with end_read(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)) as told:
        return await _bounded(told)


def _read(path: str) -> bytes | Path:
    """Return the beginning of a file; where it is a pipe, only the place."""
    place = Path(path).expanduser()
    if place.is_fifo():
        return place
    with place.open("rb") as stream:
        return stream.read(MAXIMUM_BYTES + 1)


async def _printed(reference: KeyReference) -> bytes:
    """Run the operator's command; its stderr is the operator's, as its terminal is, for a passphrase."""
    async with output_pipe() as (told, end):
        try:
            with end:
                process = await asyncio.create_subprocess_exec(*(reference.command or ()), stdout=end)
        except (OSError, ValueError) as error:
            raise _no_key(reference, f"cannot be run: {getattr(error, 'strerror', error)}") from error
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                raw = await _bounded(told)
                code = 0 if len(raw) > MAXIMUM_BYTES else await process.wait()
        except TimeoutError as error:
            raise _no_key(reference, f"did not end within {COMMAND_SECONDS:.0f} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if code:
        raise _no_key(reference, f"ended with exit code {code}")
    return raw


async def _bounded(told: asyncio.StreamReader) -> bytes:
    """Return what is told to its end, or the beginning of what is too long for a key."""
    raw = b""
    while len(raw) <= MAXIMUM_BYTES and (piece := await told.read(MAXIMUM_BYTES)):
        raw += piece
    return raw


def _no_key(reference: KeyReference, why: str) -> ModelServerError:
    return ModelServerError(
        f"the key of the model is not to be had: {reference} {why}",
        failure=Failure(kind="credential"),
        hint="put it there, or see `key` of this model in the configuration",
    )
