"""Run somebody else's agent in a session: one command, its terminal, and a model's APIs on its loopback."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from agent_runner.backends.route import for_role
from agent_runner.budget_state import BudgetExceeded
from agent_runner.commands import known_commands
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.fold import COMMAND
from agent_runner.gateway import inside
from agent_runner.gateway.book import Book
from agent_runner.gateway.parsing import Parsing
from agent_runner.gateway.relay import ModelRelay
from agent_runner.gateway.variables import MAIN, SMALL, model_environment
from agent_runner.loop import LoopEnd
from agent_runner.session import SessionRun, run_session
from audit import event
from cli_tools.errors import ActionError
from policies.capability import Capability
from policies.grant import Grant
from sandbox.errors import SandboxLostError
from sandbox.running import ENVIRONMENT, LAST_EXIT_CODE, LAST_SIGNAL, LONGEST_SECONDS, MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runner.connectors import SessionConnectors
    from agent_runner.credentials import Keyring
    from agent_runner.gateway.terminal import Terminal
    from agent_runner.request import SessionRequest, SessionResult
    from audit.journal import Journal
    from cli_tools.gate import Gate
    from sandbox.egress.gate import EgressGate
    from sandbox.guest.objects import Object
    from sandbox.link_call import CallResult
    from sandbox.session import Sandbox

GRACE_SECONDS: Final = 10.0
"""How long a command that is ended may take, beyond the second that the guest gives it."""
FLOOD_SECONDS: Final = 2.0
"""How long a command may go on whose output has reached its bound, and of which nothing more is shown."""
Outcome = Literal["ok", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of a command."""

    result: SessionResult
    code: int | None
    """The command's own exit code; None when it did not come to its end."""


async def run_command(request: SessionRequest, argv: tuple[str, ...], terminal: Terminal) -> Ran:
    """Run a command in a session of its own, to its end.

    Args:
        request: As for a session of our own; its `task` is what the ledger calls the command.
        argv: The command, found in the image.
        terminal: Its stdin, stdout and stderr.

    Raises:
        InvalidInputError: When there is no command.
        RefusedError: When the policy's grant does not hold `exec`, or as `run_session` does.
    """
    if not argv or not argv[0]:
        raise InvalidInputError("there is no command", hint="`pairlock exec --policy P -- COMMAND …`")
    grant = request.policy.grant
    if not grant.holds(Capability.EXEC):
        raise RefusedError(
            f"session holds `{grant.label}`; a command needs `exec`",
            hint="`pairlock policy list` shows the policies that hold it",
        )
    runs: list[CommandRun] = []

    def made(
        request: SessionRequest, session: str, journal: Journal, folder: Path, *, keyring: Keyring
    ) -> CommandRun:
        run = CommandRun(request, session, journal, folder, keyring=keyring, argv=argv, terminal=terminal)
        runs.append(run)
        return run

    result = await run_session(request, kind=made)
    return Ran(result=result, code=runs[0].code)


class CommandRun(SessionRun):
    """One command while it lasts.

    Args:
        request: What the session was started with.
        session: Its id.
        journal: Its ledger.
        folder: Its folder in the state folder.
        keyring: The credentials that its policy names.
        argv: The command.
        terminal: Its stdin, stdout and stderr.
        monotonic: A clock in seconds.
    """

    serves_models = True

    def __init__(  # noqa: PLR0913 - what a session is made of, and its command
        self,
        request: SessionRequest,
        session: str,
        journal: Journal,
        folder: Path,
        *,
        keyring: Keyring,
        argv: tuple[str, ...],
        terminal: Terminal,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(request, session, journal, folder, keyring=keyring)
        self._argv = argv
        self._terminal = terminal
        self._monotonic = monotonic
        self.code: int | None = None

    async def _loop(
        self,
        sandbox: Sandbox,
        egress: EgressGate | None,
        connectors: SessionConnectors,
    ) -> LoopEnd:
        spent = _Spent()
        book = Book(self._journal, self._budget, spent=spent.told, monotonic=self._monotonic)
        self._budget.bound_output(sandbox.limits.session_output_bytes, lambda: book.kept_bytes)
        backend = self._request.backend
        parsing = Parsing({MAIN: for_role(backend, "main"), SMALL: for_role(backend, "small")}, book)
        programs_go_out = self._request.policy.grant is Grant.NETWORK_EXEC and egress is not None
        sandbox.link.accept(ModelRelay(parsing, egress.relay if programs_go_out and egress else None))
        catalogue = self._request.catalogue or known_commands()
        gate = await self._gating.gate(catalogue, sandbox, egress, connectors)
        try:
            return await self._command(sandbox, gate, spent)
        finally:
            await parsing.close()
            self._transcript.model_seconds = book.model_seconds
            with suppress(SandboxLostError):
                await gate.close()

    async def _command(self, sandbox: Sandbox, gate: Gate, spent: _Spent) -> LoopEnd:
        action = self._record.next()
        await self._label_before()
        gate.started_program(action)
        await self._journal.record(_intended(action, self._argv))
        await self._journal.record(event.ProcessStarted(action=action, argv=self._argv, folder="."))
        start = self._monotonic()
        running = asyncio.ensure_future(self._run_inside(sandbox, action, spent))
        waiting = asyncio.ensure_future(spent.event.wait())
        try:
            await asyncio.wait(
                (running, waiting), timeout=self._budget.seconds_left, return_when=asyncio.FIRST_COMPLETED
            )
            if running.done():
                return await self._ended(action, running.result(), start)
            exceeded = spent.exceeded or self._budget.out_of_time()
        finally:
            waiting.cancel()
            running.cancel()
            await asyncio.gather(running, waiting, return_exceptions=True)
        await self._finished(action, "cancelled", None, start, exceeded.reason)
        await self._transcript.limit(exceeded)
        return LoopEnd(status="budget", reason=exceeded.reason, turns=self._budget.turns)

    async def _label_before(self) -> None:
        """Label a workspace that the command writes in at once, before it begins."""
        try:
            await self._gating.use.of(self._request.policy.grant.capabilities)
        except ActionError as error:
            raise RefusedError(error.message, hint=error.hint) from error

    async def _run_inside(self, sandbox: Sandbox, action: str, spent: _Spent) -> CallResult:
        """Run the command; when this is cancelled it is told to end, and awaited for a while."""
        left = sandbox.limits.session_output_bytes

        async def show(data: bytes, *, errors: bool) -> None:
            nonlocal left
            left -= len(data)
            if left <= 0:
                spent.soon(_output(sandbox.limits.session_output_bytes))
            await self._terminal.show(data, errors=errors)

        interpreter = self._housed.interpreter if self._housed else ()
        arguments: Object = {
            "argv": [*interpreter, "-c", _inside(), self._terminal.shape, *self._argv],
            "cwd": ".",
            "env": {
                **ENVIRONMENT,
                **sandbox.way_out,
                **model_environment(self._terminal.shape != "pipes"),
                "PAIRLOCK_ACTION": action,
            },
            "timeout_seconds": min(LONGEST_SECONDS, self._budget.seconds_left + GRACE_SECONDS),
            "output_bytes": sandbox.limits.session_output_bytes,
            "file_bytes": sandbox.limits.file_bytes,
            "open_files": sandbox.limits.open_files,
        }
        with self._terminal.held():
            return await sandbox.link.call(
                "process.spawn",
                arguments,
                body=self._terminal.records(),
                on_body=lambda data: show(data, errors=False),
                on_errors=lambda data: show(data, errors=True),
                limit_bytes=2 * sandbox.limits.session_output_bytes,
            )

    async def _ended(self, action: str, answer: CallResult, start: float) -> LoopEnd:
        number = answer.number("signal", most=LAST_SIGNAL)
        if dropped := answer.number("truncated_bytes", most=MOST_BYTES):
            return await self._cut_short(action, dropped, start)
        self.code = 128 + number if number else answer.number("exit_code", most=LAST_EXIT_CODE)
        reason = f"the command ended with exit code {self.code}"
        await self._finished(action, "failed" if self.code else "ok", self.code, start, reason)
        status: Literal["done", "failed"] = "failed" if self.code else "done"
        return LoopEnd(status=status, reason=reason, turns=self._budget.turns)

    async def _cut_short(self, action: str, dropped: int, start: float) -> LoopEnd:
        """End as a budget that ran out does: half of what a command wrote is not what it said."""
        bound = self._housed.sandbox.limits.session_output_bytes if self._housed else 0
        exceeded = _output(bound, dropped)
        why = f"{exceeded.reason}: {dropped} bytes of the command's were dropped"
        await self._finished(action, "failed", None, start, why)
        await self._transcript.limit(exceeded)
        return LoopEnd(status="budget", reason=exceeded.reason, turns=self._budget.turns)

    async def _finished(
        self, action: str, outcome: Outcome, code: int | None, start: float, why: str
    ) -> None:
        housed = self._housed
        await self._journal.record(
            event.ActionFinished(
                action=action,
                outcome=outcome,
                exit_code=code,
                duration_ms=int((self._monotonic() - start) * 1000),
                output_bytes=housed.sandbox.link.received_bytes if housed else 0,
                detail=why,
            )
        )


@cache
def _inside() -> str:
    """Return the text of the program that keeps the command, inside."""
    return Path(inside.__file__).read_text("utf-8")


class _Spent:
    """Which budget has run out, once one has."""

    def __init__(self) -> None:
        self.exceeded: BudgetExceeded | None = None
        self.event = asyncio.Event()

    def told(self, exceeded: BudgetExceeded) -> None:
        """Take note."""
        self.exceeded = self.exceeded or exceeded
        self.event.set()

    def soon(self, exceeded: BudgetExceeded) -> None:
        """Take note after a while: a command that ends by itself says more exactly what was dropped."""
        asyncio.get_running_loop().call_later(FLOOD_SECONDS, self.told, exceeded)


def _output(bound: int, dropped: int = 0) -> BudgetExceeded:
    return BudgetExceeded(name="output", bound=bound, observed=bound + dropped, unit="bytes")


def _intended(action: str, argv: tuple[str, ...]) -> event.ActionIntended:
    return event.ActionIntended(
        action=action, argv=argv, command=COMMAND, arguments={}, verdict="allowed", via="person"
    )
