"""Say of a session that begins what it was started with: its first entry, and its file of facts. Pure."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from agent_runner.descent import line_of
from agent_runner.meta import Meta
from agent_runner.package import pairlock_version
from audit import event
from policies.capability import in_order

if TYPE_CHECKING:
    from agent_runner.request import SessionRequest
    from audit.journal import Journal
    from policies.capability import Capability


def opened(request: SessionRequest, session: str, journal: Journal) -> event.SessionOpened:
    """Return the first entry of a session's ledger."""
    return event.SessionOpened(
        session=session,
        task=journal.commit(request.task.encode("utf-8", "surrogateescape")),
        task_is_origin=request.task_is_origin,
        grant=request.policy.grant.label,
        policy_origin=request.policy_origin,
        policy_digest=request.policy.digest,
        workspace=str(request.workspace.path) if request.workspace else None,
        model=request.backend.model,
        backend=request.backend.kind,
        pairlock_version=pairlock_version(),
        headless=request.headless,
        parent=request.descent.parent if request.descent else None,
    )


def meta_of(request: SessionRequest, session: str, *, command: bool) -> Meta:
    """Return the facts of a session that stand beside its ledger.

    Args:
        request: What it is started with.
        session: Its id.
        command: Whether it runs a command, and not our own loop.
    """
    folder = request.workspace.identity if request.workspace else None
    return Meta(
        session=session,
        policy=request.policy.name,
        policy_origin=request.policy_origin,
        policy_digest=request.policy.digest,
        grant=request.policy.grant.label,
        workspace=str(request.workspace.path) if request.workspace else None,
        model=request.backend.model,
        model_reference=request.model_reference,
        command=command,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        process=os.getpid(),
        parent=request.descent.parent if request.descent else "",
        line="+".join(in_order(line_of(request.policy.grant, request.descent))) if request.descent else "",
        device=folder.device if folder else 0,
        inode=folder.inode if folder else 0,
        birth_ns=folder.birth_ns if folder else 0,
    )


def found_unreviewed(found: frozenset[Capability]) -> event.SafetyNoted:
    """Return the entry that says what a session finds in its workspace, and from now on carries."""
    what = f"unreviewed writes in the workspace, after {', '.join(in_order(found))}, count as its own"
    return event.SafetyNoted(code="lineage", message=what)
