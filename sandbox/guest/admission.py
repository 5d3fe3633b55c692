"""Decide which of the host's requests become streams: known, within the grant, and not too many at once."""

from __future__ import annotations

from . import program
from .arguments import Arguments
from .refusal import RefusedError
from .stream import Stream
from .worker import OPERATIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from .frames import Frame
    from .objects import Object

PROGRAM = "process.spawn"
MAX_STREAMS = 256
MAX_PROGRAMS = 64
DEFAULT_SECONDS = 30.0
MAX_SECONDS = 3600.0


class Admission:
    """The door that every request goes through.

    Args:
        holds_exec: whether `process.spawn` exists.
    """

    def __init__(self, *, holds_exec: bool) -> None:
        self._holds_exec = holds_exec

    def admit(self, frame: Frame, values: Object, live: Collection[Stream]) -> Stream:
        """Return the stream that an OPEN asks for.

        Args:
            frame: the OPEN.
            values: what it says.
            live: the streams that there are.

        Raises:
            RefusedError: code `unknown-op`, `no-exec`, `busy` or `arguments`.
        """
        operation = values.get("op")
        if not isinstance(operation, str) or operation not in OPERATIONS:
            raise RefusedError("unknown-op", "the guest has no such operation")
        is_program = operation == PROGRAM
        if is_program and not self._holds_exec:
            raise RefusedError("no-exec", "`process.spawn` needs a session that holds `exec`")
        if len(live) >= MAX_STREAMS or (is_program and _programs(live) >= MAX_PROGRAMS):
            raise RefusedError("busy", f"`{len(live)}` operations are running already")
        seconds = DEFAULT_SECONDS
        if "timeout_seconds" in values:
            most = program.MAX_TIMEOUT_SECONDS if is_program else MAX_SECONDS
            seconds = _all(values).seconds("timeout_seconds", default=seconds, most=most)
        stream = Stream(frame.stream, operation, frame.payload, seconds)
        if is_program:
            stream.output_bytes = _all(values).number(
                "output_bytes", default=program.DEFAULT_OUTPUT_BYTES, most=program.MAX_OUTPUT_BYTES
            )
        return stream


def _programs(live: Collection[Stream]) -> int:
    return sum(stream.operation == PROGRAM for stream in live)


def _all(values: Object) -> Arguments:
    """Return a request's arguments, whatever their names: which there may be, its worker knows."""
    return Arguments(values, frozenset(values))
