"""Say what a session has from others: from those above it, and from unreviewed work in its workspace.

Above it: a parent, an influence, a pot. In its workspace: what was found there at its start, and what came
while it ran. All of it counts as exercised, for whatever the session writes may be made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.errors import NoFactsError
from agent_runner.label_log import came_beside
from agent_runner.meta import capabilities_of, read_meta
from policies.capability import Capability
from policies.lineage import Contribution, Label, exercised_below
from sandbox.workspace import WorkspaceIdentity, identity_of

if TYPE_CHECKING:
    from collections import Counter

    from agent_runner.budget import Budget
    from agent_runner.traffic import Known, Traffic
    from policies.grant import Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """From whom a session has its task."""

    parent: str
    """The session that delegated."""
    line: frozenset[Capability]
    """What that one counts as having exercised: its own grant, those of all above it, and what it carries."""
    depth: int
    """How many sessions are above; 1 for the child of one that a person started."""
    budget: Budget
    """That session's, which counts what this one uses."""
    calls: Counter[str]
    """Command -> how often that session and those below it were allowed it; this one counts there too."""
    traffic: Traffic
    """That session's, which is told at the end what crossed under which rule."""
    known: Known
    """What the sessions above had let through when this one's bounds were set."""


def line_of(grant: Grant, descent: Descent | None) -> frozenset[Capability]:
    """Return what a session counts as having exercised: what influenced its parent came with the task."""
    return grant.capabilities if descent is None else exercised_below(descent.line, grant)


def handed_down(folder: Path, grant: Grant, descent: Descent | None) -> frozenset[Capability]:
    """Return what a session below counts as having exercised from its first moment on.

    Args:
        folder: The folder of the session that delegates.
        grant: What that one holds.
        descent: What that one has from the one above it.

    Raises:
        NoFactsError: When its facts cannot be read.
        audit.errors.AuditError: When the host's log cannot be read.
    """
    return line_of(grant, descent) | carried(folder)


def brought_by(descent: Descent | None) -> Label:
    """Return what a session has from the one above, as a label that names that one."""
    return Label((Contribution(descent.parent, descent.line),)) if descent else Label()


def kept_line(folder: Path, grant: Grant) -> frozenset[Capability]:
    """Return the same of a session that is in the state folder, with what it carries by now; in doubt, all.

    Args:
        folder: The session's folder.
        grant: What its policy grants.

    Raises:
        audit.errors.AuditError: When the host's log cannot be read.
    """
    try:
        line = capabilities_of(read_meta(folder).line)
    except NoFactsError:
        return frozenset(Capability)  # whose task it had, and what it found, is not known
    return exercised_below(line | carried(folder), grant)


def carried(folder: Path) -> frozenset[Capability]:
    """Return what unreviewed work in its workspace had exercised, as far as a session may have read it.

    Args:
        folder: The session's folder.

    Raises:
        NoFactsError: When the session's facts cannot be read.
        audit.errors.AuditError: When the host's log cannot be read.
    """
    meta = read_meta(folder)
    if meta.workspace is None:
        return frozenset()
    workspace = meta.identity or _identity(meta.workspace)
    return capabilities_of(meta.found) | came_beside(folder.parent.parent, folder.name, workspace)


def _identity(workspace: str) -> WorkspaceIdentity:
    try:
        return identity_of(Path(workspace))
    except OSError:  # it is there no longer
        return WorkspaceIdentity(device=0, inode=-1, birth_ns=0, path=workspace)
