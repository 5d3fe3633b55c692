"""Look at which sessions run beside one another on the same files, and refuse what would make three."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.descent import kept_line
from agent_runner.errors import InvalidInputError, NoFactsError, RefusedError
from agent_runner.label_log import applied_after
from agent_runner.lineage_places import overlap
from agent_runner.meta import POLICY, read_meta
from audit.lock import is_held
from audit.state import StateFiles
from policies.capability import Capability, in_order
from policies.errors import PolicyError
from policies.source import parse_policy
from policies.wording import listed
from sandbox.workspace import WorkspaceIdentity, identity_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent_runner.lineage_since import Since
    from policies.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A session that runs, and works on the same files."""

    session: str
    line: frozenset[Capability]
    """What it counts as having exercised: all that it holds, and what it carries."""
    writes: bool
    """Whether it writes in the workspace at once."""
    moved: bool = False
    """Whether its workspace is no longer where it was, so that nobody can say what else it works on."""


def require_lineage_beside(
    state: Path,
    workspace: WorkspaceIdentity,
    session: str,
    line: frozenset[Capability],
    *,
    writes: bool,
) -> None:
    """Refuse what would bring three together with a session that runs beside it on the same files.

    Two sessions that only stage do not see each other's changes; one that writes at once is seen by both.

    Args:
        state: The state folder.
        workspace: The folder.
        session: Who asks; it is registered already, so that of two that start at once one sees the other.
        line: What it counts as having exercised, or may yet.
        writes: Whether it writes in the workspace at once.

    Raises:
        RefusedError: When it would.
    """
    for other in running_beside(state, workspace):
        if other.session == session or not (writes or other.writes):
            continue
        if other.moved:
            raise RefusedError(_moved_away(other), hint=f"`pairlock stop {other.session}`, then try again")
        if line | other.line == frozenset(Capability):
            held, wanted = (listed(in_order(each)) for each in (other.line, line))
            raise RefusedError(
                f"session `{other.session}` is running on the same files, with {held}; "
                f"beside {wanted} that makes three",
                hint=f"wait for its end, or `pairlock stop {other.session}`; then try again",
            )


def refuse_writing(state: Path, workspace: WorkspaceIdentity) -> None:
    """Refuse to call a folder reviewed in which a session is writing: what it writes next was not looked at.

    Raises:
        InvalidInputError: When one is.
    """
    for other in running_beside(state, workspace):
        if other.writes:
            raise InvalidInputError(
                _moved_away(other) if other.moved else f"session `{other.session}` is writing in it",
                hint=f"wait for its end, or `pairlock stop {other.session}`",
            )


def refuse_who_wrote(state: Path, since: Since, sessions: Iterable[str]) -> None:
    """Refuse to call reviewed what sessions wrote after a person looked.

    Raises:
        InvalidInputError: When one of them went on in its workspace, or its changes were applied.
        audit.errors.AuditError: When a line of the host's log is none.
    """
    applied, files = applied_after(state, since.log_bytes), StateFiles(state)
    for session in sessions:
        went_on = since.grew(state, session) and not _stages(files.session(session).folder)
        if went_on or session in applied:
            raise InvalidInputError(
                f"session `{session}` wrote since you looked",
                hint="look again: `pairlock review` shows what is there now",
            )


def _stages(folder: Path) -> bool:
    """Tell whether a session surely writes in no workspace while it runs."""
    try:
        policy = _policy(folder)
    except (OSError, UnicodeDecodeError, PolicyError):
        return False
    return policy.files is None or policy.files.access != "direct"


def _policy(folder: Path) -> Policy:
    return parse_policy((folder / POLICY).read_text("utf-8"), origin=str(folder / POLICY), resolved=True)


def running_beside(state: Path, workspace: WorkspaceIdentity) -> Iterator[Beside]:
    """Yield the sessions that run, and work on a folder, or on one inside or around it.

    One whose workspace was moved since it began may work on any, and is among them.

    Raises:
        RefusedError: When one runs, and what it may do cannot be read.
        audit.errors.AuditError: When the host's log cannot be read.
    """
    files = StateFiles(state)
    for session in tuple(files.session_ids()):
        if is_held(files.session(session).lock):
            found = _running(files.session(session).folder, workspace)
            if found is not None:
                yield found


def _running(folder: Path, workspace: WorkspaceIdentity) -> Beside | None:
    """Return a running session, if it works on the same files."""
    try:
        meta = read_meta(folder)
        policy = _policy(folder)
    except (NoFactsError, OSError, UnicodeDecodeError, PolicyError) as error:
        if FileNotFoundError in {type(error), type(error.__cause__)}:
            return None  # it has only begun: it will look for us when it has registered
        raise RefusedError(
            f"session `{folder.name}` is running, and what it may do cannot be read: {error}",
            hint=f"`pairlock stop {folder.name}`, then try again",
        ) from error
    if meta.workspace is None or policy.files is None:
        return None
    place = WorkspaceIdentity(device=0, inode=0, birth_ns=0, path=meta.workspace)
    moved = meta.identity is not None and _is_moved(meta.identity)
    if not (moved or overlap(workspace, meta.identity or place)):
        return None
    line = kept_line(folder, policy.grant)
    return Beside(session=folder.name, line=line, writes=policy.files.access == "direct", moved=moved)


def _is_moved(workspace: WorkspaceIdentity) -> bool:
    """Tell whether a running session's folder is no longer where it was, or another is in its place."""
    try:
        return not workspace.same_folder(identity_of(Path(workspace.path)))
    except OSError:
        return True


def _moved_away(other: Beside) -> str:
    return f"the workspace of session `{other.session}` was moved while it runs"
