"""Run one session from policy to account: ledger, stage, sandbox, loop, and everything closed at the end."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

from agent_runner.budget import Budget, BudgetLimits
from agent_runner.ceiling import read_ceiling
from agent_runner.container import Placement, place, sandbox_for
from agent_runner.errors import BackendError, RunnerError
from agent_runner.ids import new_session_id
from agent_runner.lineage import require_lineage, wrote_unreviewed
from agent_runner.loop import LoopEnd, run_loop
from agent_runner.meta import Meta, write_meta
from agent_runner.package import pairlock_version
from agent_runner.prompt import system_prompt
from agent_runner.transcript import Transcript, Watcher
from agent_runner.watch import HiddenFileAppearedError, StageExceededError, watch_of, watched
from agent_runner.way_out import way_out
from audit import event
from audit.errors import LedgerError
from audit.fields import Evidence, Totals
from audit.journal import Journal, Registration
from audit.state import prepare
from cli_tools import schema
from cli_tools.catalogue import built_in
from cli_tools.gate import Approver, Gate
from cli_tools.record import Record
from policies.request import SessionFacts
from sandbox.errors import AttestationError, SandboxError

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.backends.backend import Backend
    from policies.policy import Policy
    from sandbox import stage
    from sandbox.egress.gate import EgressGate
    from sandbox.engine import Evidence as Seen
    from sandbox.runtime.engine import Progress
    from sandbox.session import Sandbox
    from sandbox.workspace import Workspace

Status = Literal[
    "done", "failed", "denied", "budget", "sandbox_failed", "ledger_failed", "model_failed", "interrupted"
]

EXIT_CODES: Final[dict[Status, int]] = {
    "done": 0,
    "failed": 1,
    "denied": 3,
    "sandbox_failed": 4,
    "budget": 5,
    "ledger_failed": 6,
    "model_failed": 7,
    "interrupted": 130,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRequest:
    """What a session is started with."""

    task: str
    policy: Policy
    policy_origin: str
    """Where the policy came from, for people."""
    workspace: Workspace | None
    """The user's folder; given exactly when the grant holds `files`."""
    backend: Backend
    state: Path
    headless: bool
    """Whether nobody can be asked; what needs an approval is then denied."""
    task_is_origin: bool
    """Whether sinks may be taken from the task's text."""
    approver: Approver
    watcher: Watcher
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResult:
    """A session's account."""

    session: str
    status: Status
    exit_code: int
    reason: str
    unfinished: bool
    """Whether the model stopped without saying that it was done."""
    totals: Totals
    start_seconds: float
    """From the create request to the end of the attestation; 0 when the sandbox was never made."""
    ledger: Path
    """The session's log."""
    plan: stage.StagePlan | None
    """How the workspace was held; None in a session without `files`."""
    error: BaseException | None
    """What ended the session, when something broke."""


async def run_session(request: SessionRequest) -> SessionResult:
    """Run one session to its end; what goes wrong inside ends it with a status and is told in the result.

    Raises:
        RefusedError: When the session would, with what was left in its workspace, hold all three.
        audit.errors.LedgerError: When not even the session's first line can be written.
    """
    if request.workspace is not None:
        require_lineage(request.state, request.workspace, request.policy.grant)
    session = new_session_id()
    files = prepare(request.state)
    registration = Registration(
        grant=request.policy.grant.label,
        workspace=str(request.workspace.path) if request.workspace else None,
        owner_uid=os.getuid(),
    )
    journal = Journal.create(request.state, session, registration=registration, writer=pairlock_version())
    async with journal:
        folder = files.session(session).folder
        write_meta(folder, _meta(request, session), request.policy.as_yaml())
        run = _Run(request, session, journal, folder)
        return await run.to_its_end()


class _Run:
    """One session while it lasts."""

    def __init__(self, request: SessionRequest, session: str, journal: Journal, folder: Path) -> None:
        self._request = request
        self._session = session
        self._journal = journal
        self._folder = folder
        self._record = Record(journal, session)
        self._transcript = Transcript(journal, self._record, request.watcher)
        self._budget = Budget(_limits(request.policy))
        self._sandbox: Sandbox | None = None
        self._placement: Placement | None = None

    async def to_its_end(self) -> SessionResult:
        """Run, and close the ledger with the account whatever happened."""
        end: LoopEnd | None = None
        error: BaseException | None = None
        try:
            end = await self._run()
            status = _STATUS_OF_END[end.status]
        except (
            LedgerError,
            BackendError,
            SandboxError,
            RunnerError,
            OSError,
            asyncio.CancelledError,
        ) as caught:
            error = caught
            status = _status_of_error(caught)
        reason = end.reason if end else _reason(error)
        unfinished = end is not None and end.status == "unfinished"
        try:
            await self._close(status, reason, unfinished=unfinished)
        except LedgerError as broken:
            status, error, reason = "ledger_failed", error or broken, _reason(error or broken)
        return SessionResult(
            session=self._session,
            status=status,
            exit_code=EXIT_CODES[status],
            reason=reason,
            unfinished=unfinished,
            totals=self._totals(),
            start_seconds=self._sandbox.started_seconds if self._sandbox else 0.0,
            ledger=self._folder / "events.jsonl",
            plan=self._placement.plan if self._placement else None,
            error=error,
        )

    async def _run(self) -> LoopEnd:
        request = self._request
        await self._journal.record(self._opening())
        self._label_direct_writing()
        self._placement = placement = await place(
            request.policy,
            request.workspace,
            session=self._session,
            state=request.state,
            folder=self._folder,
            progress=request.progress,
        )
        try:
            async with sandbox_for(placement, made=self._created) as sandbox:
                self._sandbox = sandbox
                await self._journal.record(_attested("as granted", sandbox.evidence))
                async with way_out(request.policy, self._journal, self._session) as egress:
                    return await watched(
                        self._loop(sandbox, egress),
                        watch_of(placement.plan, request.policy.files),
                        stop=lambda: placement.engine.kill(sandbox.container_id),
                    )
        except StageExceededError as error:
            await self._journal.record(_limit_hit(error))
            raise
        except AttestationError as error:
            await self._journal.record(_attested("differs", error.evidence))
            raise
        finally:
            await placement.finish()

    def _label_direct_writing(self) -> None:
        """Label the workspace before a session that writes in it at once has written anything."""
        files, workspace = self._request.policy.files, self._request.workspace
        if workspace is not None and files is not None and files.access == "direct":
            grant, why = self._request.policy.grant, "the session writes in the workspace directly"
            wrote_unreviewed(self._request.state, workspace.identity, self._session, grant, why=why)

    async def _loop(self, sandbox: Sandbox, egress: EgressGate | None) -> LoopEnd:
        request = self._request
        catalogue = built_in()
        offered = [c for c in catalogue.commands if c.needs <= request.policy.grant.capabilities]
        gate = Gate(
            policy=request.policy,
            facts=SessionFacts(
                grant=request.policy.grant,
                ceiling=read_ceiling(),
                task=request.task if request.task_is_origin else None,
                headless=request.headless,
            ),
            catalogue=catalogue,
            sandbox=sandbox,
            egress=egress,
            record=self._record,
            approver=request.approver,
        )
        await self._transcript.begin(system_prompt(request.policy.grant), request.task)
        return await run_loop(request.backend, gate, self._transcript, schema.tools(offered), self._budget)

    def _opening(self) -> event.SessionOpened:
        request = self._request
        return event.SessionOpened(
            session=self._session,
            task=self._journal.commit(request.task.encode("utf-8", "surrogateescape")),
            task_is_origin=request.task_is_origin,
            grant=request.policy.grant.label,
            policy_origin=request.policy_origin,
            policy_digest=request.policy.digest,
            workspace=str(request.workspace.path) if request.workspace else None,
            model=request.backend.model,
            backend=request.backend.kind,
            pairlock_version=pairlock_version(),
            headless=request.headless,
        )

    async def _created(self, container_id: str) -> None:
        """Write down the container before it starts."""
        placement = self._placement
        if placement is None:
            raise RunnerError("a container was made before it was placed")
        strategy, reason = placement.strategy
        await self._journal.record(
            event.SandboxCreated(
                runtime=placement.spec.runtime,
                engine_version=placement.facts.version,
                image_digest=placement.spec.image,
                container=container_id,
                spec_digest=placement.spec.digest,
                stage_strategy=strategy,
                stage_reason=reason,
            )
        )

    async def _close(self, status: Status, reason: str, *, unfinished: bool) -> None:
        if self._sandbox is not None and status != "ledger_failed":
            await self._journal.record(event.SandboxClosed(why=reason[:500]))
        await self._journal.close(
            event.SessionClosed(
                status=status,
                exit_code=EXIT_CODES[status],
                reason=reason[:2000],
                unfinished=unfinished,
                totals=self._totals(),
            )
        )

    def _totals(self) -> Totals:
        sandbox = self._sandbox
        sandbox_seconds = sandbox.started_seconds + sandbox.busy_seconds if sandbox else 0.0
        return Totals(
            turns=self._budget.turns,
            actions=self._record.actions,
            denials=self._record.denials,
            model_ms=int(self._transcript.model_seconds * 1000),
            sandbox_ms=int(sandbox_seconds * 1000),
            ledger_ms=self._journal.spent_ms,
            input_tokens=self._budget.input_tokens,
            output_tokens=self._budget.output_tokens,
            cached_tokens=self._budget.cached_tokens,
        )


_STATUS_OF_END: Final[dict[str, Status]] = {
    "done": "done",
    "unfinished": "done",
    "failed": "failed",
    "stuck": "failed",
    "budget": "budget",
}


def _limit_hit(error: StageExceededError) -> event.LimitHit:
    exceeded = error.exceeded
    unit = "bytes" if exceeded.limit.endswith("bytes") else "files"
    return event.LimitHit(
        limit=f"stage.{exceeded.limit}", bound=exceeded.allowed, observed=exceeded.found, unit=unit
    )


# The first row that fits decides.
_STATUS_OF_ERROR: Final[tuple[tuple[type[BaseException], Status], ...]] = (
    (LedgerError, "ledger_failed"),
    (BackendError, "model_failed"),
    (SandboxError, "sandbox_failed"),
    (StageExceededError, "budget"),
    (HiddenFileAppearedError, "denied"),
    (asyncio.CancelledError, "interrupted"),
)


def _status_of_error(error: BaseException) -> Status:
    return next((status for kind, status in _STATUS_OF_ERROR if isinstance(error, kind)), "failed")


def _reason(error: BaseException | None) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "interrupted"
    return str(getattr(error, "message", "") or error)


def _limits(policy: Policy) -> BudgetLimits:
    budget = policy.budget
    return BudgetLimits(
        turns=int(budget.turns), tokens=int(budget.tokens), wall_seconds=float(budget.wall_time)
    )


def _attested(verdict: Literal["as granted", "differs"], evidence: tuple[Seen, ...]) -> event.SandboxAttested:
    pieces = tuple(
        Evidence(check=piece.check, expected=piece.expected, observed=piece.observed, source=piece.source)
        for piece in evidence
    )
    return event.SandboxAttested(verdict=verdict, evidence=pieces)


def _meta(request: SessionRequest, session: str) -> Meta:
    return Meta(
        session=session,
        policy=request.policy.name,
        policy_origin=request.policy_origin,
        policy_digest=request.policy.digest,
        grant=request.policy.grant.label,
        workspace=str(request.workspace.path) if request.workspace else None,
        model=request.backend.model,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        process=os.getpid(),
    )
