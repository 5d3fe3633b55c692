"""Go on with a session whose runner ended: same ledger, same stage, same policy, same conversation."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from agent_runner.at_work import refuse_running
from agent_runner.budget_limits import (
    NOTHING,
    BudgetLimits,
    limits_of_policy,
    policy_of_limits,
    spelled,
)
from agent_runner.ceiling import read_ceiling
from agent_runner.connectors_ordered import rules_of
from agent_runner.credentials import keyring_for
from agent_runner.errors import BackendError, InvalidInputError, RefusedError
from agent_runner.fold import BUDGET_ADDED
from agent_runner.housing import ContainerHousing, Housing
from agent_runner.lineage import require_lineage
from agent_runner.meta import read_meta
from agent_runner.models import configured_credentials
from agent_runner.outage import Outage
from agent_runner.package import pairlock_version
from agent_runner.past_below import read_whole, with_below
from agent_runner.request import SessionRequest, SessionResult
from agent_runner.resumable import is_over, refuse_command, require_same_folder
from agent_runner.review import read_policy
from agent_runner.reviewed import APPLIED, reviewed_sessions
from agent_runner.session import SessionRun
from audit import event
from audit.errors import LedgerLockedError, LedgerMovedError
from audit.journal import Journal
from audit.state import SessionFiles, StateFiles
from policies.capability import Capability
from policies.ceiling import under_ceiling
from policies.lineage import decide_continuation
from policies.request import Denied
from sandbox.stage import StageFolder
from sandbox.stage.parcel import is_out
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.approvals import Asker
    from agent_runner.backends.backend import Backend
    from agent_runner.past import Past
    from agent_runner.transcript import Watcher
    from policies.policy import Policy
    from sandbox.runtime.engine import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRequest:
    """What a session goes on with."""

    session: str
    """The whole id."""
    state: Path
    """The state folder, absolute."""
    backend: Backend
    headless: bool
    """Whether nobody can be asked now; what needs an approval is then denied."""
    approver: Asker
    watcher: Watcher
    progress: Progress
    added: BudgetLimits = NOTHING
    """What a person adds to the budget; a ceiling still holds."""
    model_reference: str = ""
    """As in `SessionRequest`."""
    housing: Housing = field(default_factory=ContainerHousing)
    """As in `SessionRequest`."""
    reachable: bool = False
    """As in `SessionRequest`."""
    outage: Outage = field(default_factory=Outage)
    """As in `SessionRequest`."""


async def resume_session(request: ResumeRequest) -> SessionResult:
    """Go on with a session to its end.

    Raises:
        InvalidInputError: When it runs, is over, or ended before it began.
        RefusedError: When it could not go on as what it was: another grant, policy or folder, lineage.
        audit.errors.BrokenLedgerError: When its ledger does not verify, or part of the conversation was
            withheld.
        audit.errors.LedgerError: When the ledger cannot be written.
    """
    files = StateFiles(request.state).session(request.session)
    refuse_running(files)
    past = with_below(read_whole(request.state, request.session), request.state)
    refuse_command(files)
    _require_open_end(past, files, request.state)
    if past.closed is not None and past.closed.status == "budget":
        past = replace(past, finished=None)  # it failed for want of what a person may have added
    policy = _policy(past, files)
    started = _as_started(request, past, policy)
    if started.workspace is not None:
        require_same_folder(files, started.workspace)
        require_lineage(request.state, started.workspace, policy.grant)
    await _rewind(request.backend, past.used.turns + past.below.turns)
    keyring = await keyring_for(policy, configured_credentials, also=rules_of(policy))
    journal = Journal.reopen(
        request.state,
        request.session,
        secrets_by_name=keyring.values,
        writer=pairlock_version(),
        programs=Capability.EXEC in policy.grant.capabilities,
        entries=past.entries,
    )
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(journal)
        except LedgerLockedError:
            refuse_running(files)  # somebody else goes on with it since it was looked at
            raise
        except LedgerMovedError as error:  # and has ended; it may be over
            raise InvalidInputError(
                f"session `{request.session}` was resumed by somebody else just now"
            ) from error
        _refuse_reviewed(request.session, request.state)  # again: a review holds the lock that is held now
        if request.added != NOTHING:
            await journal.record(event.SafetyNoted(code=BUDGET_ADDED, message=spelled(request.added)))
            past = replace(
                past, added=past.added.plus(request.added), used=past.used._replace(warned=frozenset())
            )
        stage_lost = past.staged and past.used.actions > 0 and _is_gone(policy, files)
        if stage_lost:
            request.progress("its stage is gone, and with it what the agent had changed", done=0, total=0)
        past = replace(
            past,
            copy_lost=past.used.actions > 0 and _copy_lost(policy, files),
            stage_lost=stage_lost,
            same_model=_same_model(request, files),
        )
        past = _within_ceiling(past, policy)
        run = SessionRun(started, request.session, journal, files.folder, past, keyring=keyring)
        return await run.to_its_end()


def _require_open_end(past: Past, files: SessionFiles, state: Path) -> None:
    """Refuse a session that has nothing to go on with.

    Raises:
        InvalidInputError: When it is over, or its changes were taken or thrown away.
    """
    session = files.folder.name
    _refuse_reviewed(session, state)
    if past.opened.parent is not None:
        raise InvalidInputError(
            f"session `{session}` was started by session `{past.opened.parent}`, on whose budget it ran",
            hint=f"resume that one; `pairlock diff {session}` shows what this one did",
        )
    closed = past.closed
    if closed is not None and is_over(closed.status, unfinished=closed.unfinished):
        raise InvalidInputError(
            f"session `{session}` is over: it ended as `{closed.status}`",
            hint=f"`pairlock diff {session}` shows what it changed",
        )


def _refuse_reviewed(session: str, state: Path) -> None:
    if word := reviewed_sessions(state).get(session):
        raise InvalidInputError(
            f"session `{session}` is over: its changes were {word}",
            hint="start another session; its workspace holds what was taken"
            if word == APPLIED
            else "start another session",
        )


def _policy(past: Past, files: SessionFiles) -> Policy:
    """Return the policy that the session started under, which a ceiling may have narrowed since.

    Raises:
        RefusedError: When it is not the one of the ledger, or no longer gives the same grant.
    """
    policy = read_policy(files.folder)
    if policy.digest != past.opened.policy_digest:
        raise RefusedError(
            f"the policy kept for session `{files.folder.name}` is not the one that its ledger names",
            hint="a session has one policy for its whole life; start another",
        )
    ceiling = read_ceiling()
    if ceiling is not None:
        policy = under_ceiling(policy, ceiling)
    if policy.grant.label != past.opened.grant:
        decision = decide_continuation(read_policy(files.folder).grant, policy.grant)
        reason = decision.reasons[0] if isinstance(decision, Denied) else None
        message = reason.message if reason else f"the ledger says `{past.opened.grant}`"
        raise RefusedError(message, hint=reason.hint if reason else "start another session")
    return policy


def _within_ceiling(past: Past, policy: Policy) -> Past:
    """Return the past with no more added to the budget than the operator's ceiling leaves room for."""
    ceiling = read_ceiling()
    if ceiling is None:
        return past
    now = limits_of_policy(policy)
    most = limits_of_policy(under_ceiling(policy_of_limits(policy, now.plus(past.added)), ceiling))
    return replace(past, added=most.less(now))


def _as_started(request: ResumeRequest, past: Past, policy: Policy) -> SessionRequest:
    opened = past.opened
    workspace = open_workspace(opened.workspace, state=request.state) if opened.workspace else None
    return SessionRequest(
        task=past.task,
        policy=policy,
        policy_origin=opened.policy_origin,
        workspace=workspace,
        backend=request.backend,
        state=request.state,
        headless=request.headless,
        task_is_origin=opened.task_is_origin,
        approver=request.approver,
        watcher=request.watcher,
        progress=request.progress,
        model_reference=request.model_reference,
        housing=request.housing,
        session=request.session,
        outage=request.outage,
        may_delegate=True,
    )


def _same_model(request: ResumeRequest, files: SessionFiles) -> bool:
    return request.model_reference == read_meta(files.folder).model_reference


def _copy_lost(policy: Policy, files: SessionFiles) -> bool:
    """Tell whether what the agent changed was in a copy that is lost; one that is only read is not."""
    return _may_write(policy) and is_out(StageFolder(files.folder / "stage"))


def _is_gone(policy: Policy, files: SessionFiles) -> bool:
    return _may_write(policy) and not (files.folder / "stage").exists()


def _may_write(policy: Policy) -> bool:
    return policy.files is not None and policy.files.access == "stage"


async def _rewind(backend: Backend, turns: int) -> None:
    """Let a script pass over the turns that it has given already; no other backend remembers any."""
    if backend.kind == "scripted":
        for _ in range(turns):
            await _passed_over(backend)


async def _passed_over(backend: Backend) -> None:
    try:
        await backend.ask((), ())
    except BackendError as error:
        raise InvalidInputError(
            f"the script `{backend.model}` is not the one the session was run with: {error.message}"
        ) from error
