"""Say what programs are started with and come to; and run one beside the session's other actions."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sandbox.link_call import CallResult, carry_out
from sandbox.spec import SCRATCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.guest.objects import Object
    from sandbox.link import Link
    from sandbox.link_call import Consumer
    from sandbox.link_stream import Stream

LAST_EXIT_CODE: Final = 255
LAST_SIGNAL: Final = 64
"""The highest of Linux, on every machine that pairlock runs on: signal(7)."""
MOST_BYTES: Final = 2**53
"""More than a guest can send; a reader of JSON keeps it exactly (RFC 8259, clause 6)."""
LONGEST_SECONDS: Final = 86_400.0
"""A program's own time; the guest takes no more (`sandbox.guest.program.MAX_TIMEOUT_SECONDS`)."""

ENVIRONMENT: Final = {
    "HOME": SCRATCH,
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TERM": "dumb",
    "TMPDIR": SCRATCH,
}
"""What the agent's programs are started with, and nothing else."""
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_UNBOUNDED: Final = 1 << 40
"""More than the guest is told to send; what it is told bounds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessResult:
    """What a program came to."""

    exit_code: int
    """Its own code; 128 + the signal's number when a signal ended it, as shells say it."""
    output: bytes
    errors: bytes
    truncated_bytes: int
    timed_out: bool
    note: str
    allowed_seconds: float = field(default=0.0, compare=False)
    """Until its whole group is ended; 0 where nobody waits for it."""


def process_result(reply: CallResult) -> ProcessResult:
    """Return what a program came to.

    Raises:
        GuestProtocolError: When the guest answers what ours never does.
    """
    signal = reply.number("signal", most=LAST_SIGNAL)
    code = reply.number("exit_code", most=LAST_EXIT_CODE)
    return ProcessResult(
        exit_code=128 + signal if signal else code,
        output=reply.body,
        errors=reply.errors,
        truncated_bytes=reply.number("truncated_bytes", most=MOST_BYTES),
        timed_out=bool(reply.result.get("timed_out")),
        note=f"ended by signal {signal}" if signal else "",
    )


class Running:
    """One program.

    Args:
        link: To the guest.
        arguments: Of `process.spawn`.
        stdin: What it reads.
        take: Takes each piece of its output, of both pipes in the order in which they came.
    """

    def __init__(self, link: Link, arguments: Object, stdin: bytes, take: Consumer) -> None:
        self._link = link
        self._arguments = arguments
        self._stdin = stdin
        self._take = take
        self._stream: Stream | None = None
        self._is_stopped = False

    @property
    def allowed_seconds(self) -> float:
        """Return the seconds until it is ended."""
        seconds = self._arguments["timeout_seconds"]
        return float(seconds) if isinstance(seconds, int | float) else 0.0

    async def to_its_end(self) -> CallResult:
        """Start it and wait for it.

        Raises:
            OperationFailedError: When it cannot be started, or was stopped: code `cancelled`.
            SandboxLostError: When the guest is gone, and so the program.
        """
        async with self._link.open("process.spawn", self._arguments) as stream:
            self._stream = stream
            if self._is_stopped:  # before it was started
                stream.cancel()
            return await carry_out(
                stream,
                body=self._stdin,
                on_body=self._take,
                on_errors=self._take,
                limit_bytes=_UNBOUNDED,
            )

    def stop(self) -> None:
        """Have it ended, with everything that it started: SIGTERM, and SIGKILL a second later."""
        if self._stream is not None and not self._is_stopped:
            self._stream.cancel()
        self._is_stopped = True
