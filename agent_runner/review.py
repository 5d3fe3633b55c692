"""Show, take or throw away what a session changed; a person's decision is an entry of the host's log."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from agent_runner.errors import InvalidInputError
from agent_runner.lineage import require_lineage_beside, wrote_unreviewed
from agent_runner.meta import POLICY
from agent_runner.package import pairlock_version
from agent_runner.person import who
from audit.event import StageApplied, StageDiscarded
from audit.host import HostLog
from audit.lock import is_held
from policies.source import parse_policy
from sandbox.stage import Globs, HiddenBy, ProtectedBy, discard
from sandbox.stage.apply import ApplyResult, apply_changes, recover
from sandbox.stage.changes import ChangeSet, compute_changes
from sandbox.stage.opened import OpenStage, open_stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from audit.state import SessionFiles
    from policies.policy import FilesBlock, Policy


def read_policy(folder: Path) -> Policy:
    """Return the policy that a session ran under, as resolved.

    Raises:
        InvalidInputError: When the session never began.
    """
    path = folder / POLICY
    try:
        return parse_policy(path.read_text("utf-8"), origin=str(path))
    except FileNotFoundError as error:
        raise InvalidInputError(f"session `{folder.name}` never began: its policy was not written") from error


def files_block(folder: Path) -> FilesBlock:
    """Return the `files` block that a session ran under.

    Raises:
        InvalidInputError: When it had none: nothing of the user's was in reach.
    """
    policy = read_policy(folder)
    if policy.files is None:
        raise InvalidInputError(f"session `{folder.name}` had no `files`, so there is nothing to review")
    return policy.files


@contextmanager
def opened(folder: Path) -> Iterator[tuple[OpenStage, ChangeSet]]:
    """Open a session's stage and compute what changed.

    Raises:
        sandbox.stage.errors.StageError: When there is no stage, or the workspace is gone.
    """
    files = files_block(folder)
    with open_stage(folder) as stage:
        yield stage, compute_changes(stage, hide=HiddenBy(files), protect=ProtectedBy(files))


def apply_stage(
    session: SessionFiles,
    state: Path,
    *,
    paths: Sequence[str],
    include: Sequence[str],
    shown: ChangeSet | None,
) -> ApplyResult:
    """Write the chosen changes to the workspace and record that a person took them.

    Args:
        session: Whose changes.
        state: The state folder.
        paths: Globs of what to take; empty takes everything.
        include: Globs of protected or hidden paths that the person names on purpose.
        shown: The changes that a person saw and said yes to; None when nobody looked, which labels the
            workspace.

    Raises:
        InvalidInputError: When the session is still running, or changed something since it was shown.
        sandbox.stage.errors.StageError: When the changes cannot be read or written.
    """
    refuse_running(session)
    with open_stage(session.folder) as stage:
        recover(stage)
    with opened(session.folder) as (stage, changes):
        if shown is not None and changes != shown:
            raise InvalidInputError(
                "the changes are not those that were shown", hint="look at them again: `pairlock diff`"
            )
        if shown is None:
            grant = read_policy(session.folder).grant
            require_lineage_beside(state, stage.workspace, session.folder.name, grant, writes=True)
            why = "changes were applied that nobody had to look at"
            wrote_unreviewed(state, stage.workspace, session.folder.name, grant, why=why)
        result = apply_changes(
            stage,
            changes.changes,
            chosen=Globs.parse(paths) if paths else None,
            include=Globs.parse(include) if include else None,
        )
    with HostLog(state, writer=pairlock_version()) as log:
        log.append(
            StageApplied(
                session=session.folder.name,
                workspace=stage.workspace.path,
                applied=result.applied,
                refused=tuple(item.path for item in result.not_applied),
                by=who(),
                whole=result.complete,
            )
        )
    return result


def discard_stage(session: SessionFiles, state: Path) -> int:
    """Throw away a session's changes, record it, and return how many there were."""
    refuse_running(session)
    with opened(session.folder) as (stage, changes):
        count, workspace = len(changes.changes), stage.workspace.path
    with HostLog(state, writer=pairlock_version()) as log:
        name = session.folder.name
        log.append(StageDiscarded(session=name, workspace=workspace, by=who(), why="a person discarded it"))
    discard(session.folder)
    return count


def refuse_running(session: SessionFiles) -> None:
    """Refuse a session whose runner is at work.

    Raises:
        InvalidInputError: When its ledger has a writer.
    """
    if is_held(session.lock):
        raise InvalidInputError(
            f"session `{session.folder.name}` is running", hint="wait for its end, or stop it with Ctrl-C"
        )
