"""Hold one sandbox for one session, and what it is asked; `launch` makes and destroys it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from sandbox.errors import (
    AnswerTooLargeError,
    OperationError,
    OperationFailedError,
)
from sandbox.guest.frames import COMMAND
from sandbox.limits import MIB, Limits
from sandbox.proxied import BUNDLE, program_environment, proxy_environment, trust_environment
from sandbox.running import ENVIRONMENT, LONGEST_SECONDS, NOTHING, ProcessResult, Running, process_result
from sandbox.spec import RUNTIME, SCRATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox.connection import Relay
    from sandbox.engine import Evidence
    from sandbox.guest.objects import Object
    from sandbox.link import Link
    from sandbox.link_call import CallResult, Consumer
    from sandbox.spec import ContainerSpec

_WRITES: Final = frozenset({"files.write", "files.move", "files.remove", "files.patch"})
GRACE_SECONDS: Final = 15.0
"""Beyond an action's own time, before the guest is taken for dead."""


class Room(Protocol):
    """Says what may be written in the workspace, before it is."""

    async def admit(self, operation: str, arguments: Object, size: int, /) -> None:
        """Let an operation write so many bytes, or raise OperationError."""
        ...

    def told(self, error: OperationError, /) -> OperationError:
        """Return an error of an operation as the agent is to have it."""
        ...


@dataclass(slots=True, kw_only=True)
class Sandbox:
    """An attested sandbox."""

    spec: ContainerSpec
    container_id: str
    limits: Limits
    evidence: tuple[Evidence, ...]
    link: Link
    started_seconds: float
    """From the create request to the end of the attestation."""
    busy_seconds: float = 0.0
    """Time in which at least one operation was under way."""
    way_out: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables that point programs to the loopback proxy, and to commands; empty without either."""
    commands: str = ""
    """Folder inside where commands can be put on PATH; empty where there is none for them."""
    room: Room | None = None
    """What a command may write in the workspace; None where nothing but the kernel bounds it."""
    straight: bool = False
    """Whether what is written may lead through no symlink: it would get another name than was decided on."""
    _open: int = field(default=0, init=False)
    """Operations that are under way."""
    _since: float = field(default=0.0, init=False)
    """When the first of them began."""

    @property
    def output_bytes(self) -> int:
        """Return the output of all actions so far, those that failed and those that still run among them."""
        return self.link.received_bytes

    async def call(self, operation: str, arguments: Object, *, body: bytes | None = None) -> CallResult:
        """Carry out one operation of the guest's (docs/architecture.md lists them).

        Raises:
            OperationError: When the guest refuses it or it fails; the sandbox goes on.
            SandboxLostError: When the guest no longer answers.
        """
        if self.straight and operation in _WRITES:
            arguments = {**arguments, "straight": True}
        if self.room is None:
            return await self._timed(operation, arguments, body, self.limits.action_seconds)
        await self.room.admit(operation, arguments, len(body or b""))
        try:
            return await self._timed(operation, arguments, body, self.limits.action_seconds)
        except OperationError as error:
            raise self.room.told(error) from error

    async def let_out(self, relay: Relay, *, authorities: str) -> None:
        """Serve the container's loopback proxy, and point programs to it.

        Args:
            relay: Serves each connection; `EgressGate.relay`.
            authorities: The session's own, PEM, for programs to trust beside the image's; empty for none.

        Raises:
            ValueError: When the grant has no loopback proxy.
            OperationError: When the guest cannot write the authorities down.
        """
        if "--loopback" not in self.spec.entrypoint:
            raise ValueError("only a session that holds `network` and `exec` has a loopback proxy")
        variables = {**proxy_environment()}
        if authorities:
            await self.call("trust.write", {}, body=authorities.encode())
            variables.update(trust_environment(f"{SCRATCH}/{BUNDLE}"))
        self.link.accept(relay)
        self.way_out = {**self.way_out, **variables}

    async def put_on_path(self, names: Sequence[str], relay: Relay) -> None:
        """Let programs call commands by name, behind the image's own programs on PATH.

        Args:
            names: The first words of the commands.
            relay: Serves each call (`sandbox/guest/stub/stub.c` has the protocol).

        Raises:
            OperationError: When the guest cannot make the folder.
        """
        if not self.commands:
            return
        program = f"{RUNTIME}/bin/command"
        await self.call("stubs.write", {"folder": self.commands, "program": program, "names": list(names)})
        self.link.accept(relay, operation=COMMAND)
        path = f"{ENVIRONMENT['PATH']}:{self.commands}"
        self.way_out = {**self.way_out, "PATH": path, "PAIRLOCK_COMMANDS": self.commands}

    async def spawn(
        self,
        argv: tuple[str, ...],
        *,
        cwd: str = ".",
        timeout_seconds: float | None = None,
        stdin: bytes | None = None,
        environment: Mapping[str, str] = NOTHING,
    ) -> ProcessResult:
        """Run a program and wait for it.

        Args:
            argv: The program and its arguments, given as they are.
            cwd: Folder to start in, relative to the workspace (or to the scratch folder without one).
            timeout_seconds: Until its whole process group is ended; at most the limit for actions.
            stdin: What it reads; nothing when None.
            environment: Variables beside its usual ones.
        """
        seconds = min(timeout_seconds or self.limits.action_seconds, self.limits.action_seconds)
        most = min(self.limits.action_output_bytes, self.limits.session_output_bytes - self.output_bytes)
        arguments = self._program(argv, cwd, environment, seconds=seconds, output_bytes=most)
        result = process_result(await self._timed("process.spawn", arguments, stdin or b"", seconds))
        return replace(result, allowed_seconds=seconds)

    def running(  # noqa: PLR0913 - what a program is started with
        self,
        argv: tuple[str, ...],
        *,
        take: Consumer,
        cwd: str = ".",
        timeout_seconds: float | None = None,
        stdin: bytes | None = None,
        environment: Mapping[str, str] = NOTHING,
    ) -> Running:
        """Return a program that is to run beside other actions; it is not started yet.

        Args:
            argv: As in `spawn`.
            take: Takes each piece of its output.
            cwd: As in `spawn`.
            timeout_seconds: Until it is ended; at most the sandbox's own life, and a day.
            stdin: As in `spawn`.
            environment: As in `spawn`.
        """
        most_seconds = min(self.limits.wall_seconds, LONGEST_SECONDS)
        seconds = min(timeout_seconds or most_seconds, most_seconds)
        most = self.limits.session_output_bytes - self.output_bytes
        arguments = self._program(argv, cwd, environment, seconds=seconds, output_bytes=most)
        return Running(self.link, arguments, stdin or b"", take)

    def _program(
        self,
        argv: tuple[str, ...],
        cwd: str,
        environment: Mapping[str, str],
        *,
        seconds: float,
        output_bytes: int,
    ) -> Object:
        return {
            "argv": list(argv),
            "cwd": cwd,
            "env": {**ENVIRONMENT, **program_environment(environment, self.way_out)},
            "timeout_seconds": seconds,
            "output_bytes": max(1, output_bytes),
            "file_bytes": self.limits.file_bytes,
            "open_files": self.limits.open_files,
        }

    async def _timed(
        self, operation: str, arguments: Object, body: bytes | None, seconds: float
    ) -> CallResult:
        if not self._open:
            self._since = time.monotonic()
        self._open += 1
        try:
            return await self.link.call(
                operation,
                arguments,
                body=body or b"",
                limit_bytes=self.limits.action_output_bytes + MIB,
                answer_seconds=seconds + GRACE_SECONDS,
            )
        except OperationFailedError as error:
            raise OperationError(error.code, error.reason) from error
        except AnswerTooLargeError as error:
            raise OperationError("too-large", error.message) from error
        finally:
            self._open -= 1
            if not self._open:
                self.busy_seconds += time.monotonic() - self._since
