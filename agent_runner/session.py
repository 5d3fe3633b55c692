"""Run one session from policy to account: ledger, sandbox, loop, and everything closed at the end."""

from __future__ import annotations

import asyncio
import os
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from agent_runner.budget_limits import less_egress, policy_of_limits
from agent_runner.connectors import connectors_of
from agent_runner.connectors_ordered import rules_of
from agent_runner.continuing import go_on
from agent_runner.credentials import EMPTY, Keyring, keyring_for
from agent_runner.descent import brought_by
from agent_runner.ending import (
    FORESEEN,
    closed,
    for_want_of_egress,
    limit_hit,
    reason_of,
    status_of_end,
    status_of_error,
    while_down,
)
from agent_runner.housing import Housed, Order
from agent_runner.ids import new_session_id
from agent_runner.lineage import hold_lineage, require_lineage
from agent_runner.loop import LoopEnd, run_loop
from agent_runner.meta import write_meta
from agent_runner.models import configured_credentials
from agent_runner.opening import found_unreviewed, meta_of, opened
from agent_runner.outputs import keep_outputs
from agent_runner.package import pairlock_version
from agent_runner.pulse import beating
from agent_runner.request import EXIT_CODES, SessionRequest, SessionResult, Status
from agent_runner.session_parts import parts_of
from agent_runner.transcript import BudgetWatcher
from agent_runner.watch import StageExceededError, watched
from agent_runner.way_out import way_out
from audit import event
from audit.appendfile import spoken
from audit.errors import LedgerError
from audit.escape import escape_line
from audit.journal import Journal, Registration
from audit.state import StateFiles
from policies.capability import Capability
from sandbox.errors import SandboxLostError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from agent_runner.connectors import SessionConnectors
    from agent_runner.past import Past
    from audit.fields import Totals
    from sandbox.egress.gate import EgressGate
    from sandbox.session import Sandbox

__all__ = ["EXIT_CODES", "SessionRequest", "SessionResult", "SessionRun", "Status", "run_session"]


async def run_session(
    request: SessionRequest, *, kind: Callable[..., SessionRun] | None = None
) -> SessionResult:
    """Run one session to its end; what goes wrong inside ends it with a status and is told in the result.

    Args:
        request: What it is started with.
        kind: Makes a run of another kind than that of our own loop, from what `SessionRun` is made of.

    Raises:
        InvalidInputError: When a credential that the policy names is not to be had.
        RefusedError: When the session would, with what was left in its workspace, hold all three.
        audit.errors.LedgerError: When not even the session's first line can be written.
    """
    if request.workspace is not None:
        require_lineage(request.state, request.workspace, request.policy.grant, brought_by(request.descent))
    keyring = await keyring_for(request.policy, configured_credentials, also=rules_of(request.policy))
    session = request.session or new_session_id()
    registration = Registration(
        grant=request.policy.grant.label,
        workspace=str(request.workspace.path) if request.workspace else None,
        owner_uid=os.getuid(),
    )
    journal = Journal.create(
        request.state,
        session,
        registration=registration,
        secrets_by_name=keyring.values,
        writer=pairlock_version(),
        programs=Capability.EXEC in request.policy.grant.capabilities,
    )
    async with journal:
        folder = StateFiles(request.state).session(session).folder
        try:
            write_meta(folder, meta_of(request, session, command=kind is not None), request.policy.as_yaml())
        except OSError as error:
            raise spoken(error, folder) from error
        run = (kind or SessionRun)(request, session, journal, folder, keyring=keyring)
        return await run.to_its_end()


class SessionRun:
    """One session while it lasts.

    Args:
        request: What it was started with.
        session: Its id.
        journal: Its ledger, open.
        folder: Its folder in the state folder.
        past: What it has come to, when it goes on.
        keyring: The credentials that its policy names.
    """

    serves_models = False
    """Whether programs in the sandbox find a model's API on their loopback."""

    def __init__(  # noqa: PLR0913 - what a session is made of
        self,
        request: SessionRequest,
        session: str,
        journal: Journal,
        folder: Path,
        past: Past | None = None,
        *,
        keyring: Keyring = EMPTY,
    ) -> None:
        self._request = request
        self._session = session
        self._journal = journal
        self._folder = folder
        self._past = past
        self._keyring = keyring
        self._housed: Housed | None = None
        parts = parts_of(request, session, journal, past, require=self._require_sandbox, start=run_session)
        self._parts = parts
        self._record, self._transcript, self._budget = parts.record, parts.transcript, parts.budget
        self._asker, self._traffic = parts.asker, parts.traffic
        self._gating, self._asking = parts.gating, parts.asking
        self._interrupted = False

    async def to_its_end(self) -> SessionResult:
        """Run, and close the ledger with the account whatever happened.

        The first cancellation interrupts the session; one while it is being closed changes nothing.
        """
        session = asyncio.ensure_future(self._to_its_end())
        session.add_done_callback(lambda done: done.cancelled() or done.exception())  # with its loop
        while True:
            try:
                return await asyncio.shield(session)
            except asyncio.CancelledError:
                if session.cancelled():
                    raise
                if not self._interrupted:
                    self._interrupted = True
                    session.cancel()

    async def _to_its_end(self) -> SessionResult:
        end: LoopEnd | None = None
        error: BaseException | None = None
        try:
            end = await self._run()
            status = status_of_end(end)
        except FORESEEN as caught:
            error = caught
            status = status_of_error(caught, housed=self._housed is not None)
        reason = end.reason if end else reason_of(error)
        unfinished = end.status == "unfinished" if end else status == "failed"
        totals = self._parts.totals(self._journal, self._sandbox, self._past)
        self._budget.close()
        if self._request.descent is not None:
            self._request.descent.traffic.add_below(self._traffic, self._session)
        try:
            await self._close(status, reason, totals, unfinished=unfinished)
        except LedgerError as broken:
            status, error, reason = "ledger_failed", error or broken, reason_of(error or broken)
        return SessionResult(
            session=self._session,
            status=status,
            exit_code=EXIT_CODES[status],
            reason=reason,
            unfinished=unfinished,
            totals=totals,
            start_seconds=self._sandbox.started_seconds if self._sandbox else 0.0,
            ledger=self._folder / "events.jsonl",
            plan=self._housed.plan if self._housed else None,
            error=error,
        )

    @property
    def _sandbox(self) -> Sandbox | None:
        return self._housed.sandbox if self._housed else None

    def _require_sandbox(self) -> None:
        if self._sandbox is not None and self._sandbox.link.is_lost:
            raise SandboxLostError("the sandbox was lost while the session waited")

    async def _run(self) -> LoopEnd:
        request, past = self._request, self._past
        if past is None:
            await self._journal.record(opened(request, self._session, self._journal))
        elif past.finished is not None:
            status, summary = past.finished
            return LoopEnd(status=status, reason=summary, turns=past.used.turns)
        if found := await asyncio.to_thread(hold_lineage, request, self._session):
            await self._journal.record(found_unreviewed(found))
        order = Order(
            session=self._session,
            policy=request.policy,
            workspace=request.workspace,
            state=request.state,
            folder=self._folder,
            resumed=past is not None,
            journal=self._journal,
            progress=request.progress,
            models=self.serves_models,
        )
        async with beating() as pulse:
            try:
                return await self._housed_loop(order)
            except StageExceededError as error:
                await self._journal.record(limit_hit(error))
                raise
            except SandboxLostError:
                pulse.require_unbroken()
                raise

    async def _housed_loop(self, order: Order) -> LoopEnd:
        async with self._asked_ahead(), self._request.housing.house(order) as housed:
            self._housed = housed
            sandbox = housed.sandbox
            below = self._past.below if self._past else None
            in_force = policy_of_limits(order.policy, less_egress(self._budget.limits, below))
            ways = way_out(
                in_force,
                self._journal,
                self._session,
                sandbox,
                credentials=self._keyring.find,
                asker=self._asker,
                traffic=self._traffic,
            )
            self._keyring.told_to(self._journal.redactor.learn)
            connected = connectors_of(in_force, order, credentials=self._keyring.find, traffic=self._traffic)
            async with ways as egress, connected as connectors:
                work = self._loop(sandbox, egress, connectors)
                end = await watched(work, housed.watch, stop=housed.stop, failed=self._journal.failed)
                await self._keep_outputs(sandbox)
                return end

    def _asked_ahead(self) -> AbstractAsyncContextManager[None]:
        """Ask a model while the sandbox is made; a program that asks would be told that there is one."""
        if self._past is not None or self._request.may_repeat or self.serves_models:
            return nullcontext()
        return self._asking.ahead()

    async def _keep_outputs(self, sandbox: Sandbox) -> None:
        policy, tell = self._request.policy, self._request.progress
        kept = await keep_outputs(sandbox, policy, self._folder, self._request.state)
        if kept is not None:
            tell(f"{kept.files} files kept: `pairlock outputs {self._session}`", done=0, total=0)
            for line in kept.left_out:
                tell(f"not kept: {escape_line(line, width=120)}", done=0, total=0)

    async def _loop(
        self, sandbox: Sandbox, egress: EgressGate | None, connectors: SessionConnectors
    ) -> LoopEnd:
        request, past, asking = self._request, self._past, self._asking
        delegation = asking.delegation
        gate = await self._gating.gate(asking.catalogue, sandbox, egress, connectors, delegation=delegation)
        if past is not None:
            await go_on(self._journal, self._transcript, past)
        self._budget.bound_output(sandbox.limits.session_output_bytes, lambda: sandbox.output_bytes)
        if isinstance(request.watcher, BudgetWatcher):
            request.watcher.follow(self._budget.states)
        await asking.begin()
        try:
            end = await run_loop(
                asking.backend,
                gate,
                self._transcript,
                asking.tools,
                self._budget,
                may_repeat=request.may_repeat,
            )
            return while_down(for_want_of_egress(end, self._traffic.spent), asking.backend.down_seconds)
        finally:
            with suppress(SandboxLostError):
                await gate.close()  # before the result is collected: nothing writes meanwhile

    async def _close(self, status: Status, reason: str, totals: Totals, *, unfinished: bool) -> None:
        if self._sandbox is not None and status != "ledger_failed":
            await self._journal.record(event.SandboxClosed(why=reason[:500]))
        await self._journal.close(closed(status, reason, totals, unfinished=unfinished))
