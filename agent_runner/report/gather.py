"""Read everything that a report tells of one session: its ledger, the host's log, its stage, its policy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent_runner.errors import RunnerError
from agent_runner.report import verdict
from agent_runner.report.changes import StageShown, read_stage
from agent_runner.report.fold import SessionFold
from agent_runner.report.host import host_facts
from agent_runner.review import read_policy
from audit.errors import AuditError, BrokenLedgerError
from audit.evidence import gather
from audit.keys import pinned
from audit.lock import is_held
from audit.reader import BrokenEntry, SessionReader
from audit.segments import text_in
from audit.state import StateFiles
from audit.verify import verify_with
from policies.errors import PolicyError

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.report.verdict import VerdictShown
    from audit.index import HostIndex
    from policies.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What the reader holds the ledger against, from elsewhere."""

    vkey: str | None = None
    """The host's public key; None takes the one pinned in the state folder."""
    against: str | None = None
    """A checkpoint, as a signed note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyShown:
    """The policy that a session ran under, where it is the one that the ledger committed to."""

    policy: Policy | None
    why_not: str
    """Why it cannot be shown; empty when it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a report tells of one session."""

    session: str
    made_at: str
    """When, UTC, to the second."""
    running: bool
    """Whether a writer is at work on it."""
    verdict: VerdictShown
    fold: SessionFold
    task: str
    """The beginning of the task, on one line."""
    host: list[list[str]]
    """What the host's log says of it."""
    stage: StageShown
    policy: PolicyShown


def gather_report(state: Path, session: str, pins: Pins, *, now: datetime | None = None) -> Report:
    """Return what is to be told of a session; its ledger is verified, and read, now.

    Args:
        state: The state folder.
        session: A whole id.
        pins: What to hold the ledger against.
        now: The time; the machine's own when None.

    Raises:
        audit.errors.AuditError: When the session has no ledger, or a pin is none.
    """
    evidence = gather(state, pinned_vkey=pins.vkey, against=pins.against)
    files = StateFiles(state)
    reader = SessionReader(state, session, index=evidence.index)
    fold, broken = read_fold(reader, evidence.index)
    found = verify_with(evidence, session)
    key = pins.vkey or str(pinned(files) or "")
    opened = fold.opened
    return Report(
        session=session,
        made_at=f"{now or datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        running=is_held(reader.files.lock),
        verdict=verdict.shown(found, evidence.index, broken=broken, key=key, checkpoint=_checkpoint(files)),
        fold=fold,
        task=_task(fold),
        host=host_facts(files, evidence.index, session, opened.workspace if opened else None),
        stage=read_stage(reader.files),
        policy=_policy(reader.files.folder, opened.policy_digest if opened else ""),
    )


def read_fold(reader: SessionReader, index: HostIndex) -> tuple[SessionFold, bool]:
    """Return a session's whole fold, and whether a broken entry ended the reading."""
    fold, broken = SessionFold(reader, frozenset(index.session(reader.session_id).withheld)), False
    for entry in reader.entries():
        broken = isinstance(entry, BrokenEntry)
        fold.take(entry)
    return fold, broken


def _task(fold: SessionFold) -> str:
    if fold.opened is None:
        return ""
    value = fold.bodies.value(fold.opened.task, "task")
    if not isinstance(value, bytes):
        return f"(task {value.why})"
    text = " ".join(value[:2000].decode("utf-8", "surrogateescape").split())
    return text if len(text) <= 200 else f"{text[:200]} ..."


def _checkpoint(files: StateFiles) -> str:
    try:
        return text_in(files.checkpoint) or ""
    except BrokenLedgerError:
        return ""


def _policy(folder: Path, digest: str) -> PolicyShown:
    """Return the policy beside the ledger, if it is the one whose digest stands in the ledger."""
    try:
        policy = read_policy(folder)
    except (RunnerError, PolicyError, AuditError, OSError, ValueError) as error:
        return PolicyShown(policy=None, why_not=str(getattr(error, "message", "") or error))
    if policy.digest != digest:
        return PolicyShown(
            policy=None, why_not="what lies beside the ledger is not the policy that the ledger committed to"
        )
    return PolicyShown(policy=policy, why_not="")
