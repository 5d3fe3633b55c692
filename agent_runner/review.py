"""Show or take what a session changed; a person's decision is an entry of the host's log."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.at_work import refuse_running, runners_kept_out
from agent_runner.errors import InvalidInputError
from agent_runner.exercised import exercised
from agent_runner.lineage import wrote_unreviewed
from agent_runner.lineage_beside import require_lineage_beside
from agent_runner.meta import POLICY
from agent_runner.package import pairlock_version
from agent_runner.person import who
from audit.event import StageApplied
from audit.host import HostLog
from policies.capability import in_order
from policies.files_block import FilesBlock
from policies.source import parse_policy
from sandbox.stage import HiddenBy, KeptBy, Named, ProtectedBy, ThesePaths
from sandbox.stage.apply import ApplyResult, apply_changes, recover
from sandbox.stage.branch import BranchResult, CommitText, commit_to_branch
from sandbox.stage.changes import ChangeSet, compute_changes
from sandbox.stage.gitcalls import repository_elsewhere
from sandbox.stage.layout import StageFolder
from sandbox.stage.opened import OpenStage, open_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from agent_runner.person import Author
    from audit.state import SessionFiles
    from policies.policy import Policy
    from sandbox.stage import PathMatcher, Recovery
    from sandbox.workspace import WorkspaceIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a person takes of a session's changes."""

    shown: ChangeSet | None
    """The changes that a person saw and said yes to; None when nobody looked, which labels the workspace."""
    paths: Sequence[str] = ()
    """Paths, folders or globs of what to take; empty takes everything."""
    include: Sequence[str] = ()
    """The same for protected or hidden paths, which the person names on purpose."""
    contents: Mapping[str, bytes] = field(default_factory=dict)
    """For files of which only some hunks are taken: the content to write."""
    exact: bool = False
    """Whether `paths` are whole paths of changes, and nothing else is meant by them."""

    def matchers(self, changes: ChangeSet) -> tuple[PathMatcher | None, Named | None]:
        """Return what is chosen and what is included; None where nothing was said.

        Raises:
            policies.errors.BadValueError: When a word names no change.
        """
        there = [change.path for change in changes.changes]
        chosen: PathMatcher | None = Named.among(self.paths, there) if self.paths else None
        if self.exact:
            chosen = ThesePaths(frozenset(self.paths))
        return chosen, Named.among(self.include, there) if self.include else None


def read_policy(folder: Path) -> Policy:
    """Return the policy that a session ran under, as resolved.

    Raises:
        InvalidInputError: When the session never began, or the copy kept with it is no text.
    """
    path = folder / POLICY
    try:
        return parse_policy(path.read_text("utf-8"), origin=str(path), resolved=True)
    except FileNotFoundError as error:
        raise InvalidInputError(f"session `{folder.name}` never began: its policy was not written") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{path}: the policy kept for session `{folder.name}` is no text in UTF-8",
            hint="a session has one policy for its whole life; start another",
        ) from error


def files_block(folder: Path) -> FilesBlock:
    """Return the `files` block that a session ran under.

    Raises:
        InvalidInputError: When it had none, and kept no outputs: nothing of the user's was in reach.
    """
    policy = read_policy(folder)
    if policy.files is None and policy.outputs is not None:
        return FilesBlock()  # its outputs are put in under the default rules
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
        yield (
            stage,
            compute_changes(stage, hide=HiddenBy(files), protect=ProtectedBy(files), keep=KeptBy(files)),
        )


def apply_stage(session: SessionFiles, state: Path, choice: Choice) -> ApplyResult:
    """Write the chosen changes to the workspace and record who took them.

    Args:
        session: Whose changes.
        state: The state folder.
        choice: What to take.

    Raises:
        InvalidInputError: When the session is still running, or changed something since it was shown.
        sandbox.stage.errors.StageError: When the changes cannot be read or written.
    """
    with _taking(session, state, choice) as (log, stage, changes):

        def noted(result: ApplyResult) -> None:
            refused = tuple(item.path for item in result.not_applied)
            _record(log, stage, applied=result.applied, refused=refused, whole=result.complete)

        chosen, include = choice.matchers(changes)
        return apply_changes(
            stage, changes.changes, chosen=chosen, include=include, contents=choice.contents, noted=noted
        )


def branch_stage(
    session: SessionFiles, state: Path, choice: Choice, *, branch: str, text: CommitText
) -> BranchResult:
    """Commit the chosen changes to a new git branch of the workspace, and record it; the stage stays.

    Raises:
        InvalidInputError: As in `apply_stage`.
        sandbox.stage.errors.StageError: When nothing can be committed; no branch was made.
    """
    with _taking(session, state, choice) as (log, stage, changes):
        if choice.shown is None and (elsewhere := repository_elsewhere(Path(stage.workspace.path))):
            label_unseen(session.folder, state, elsewhere)

        def noted(result: BranchResult) -> None:
            refused = tuple(item.path for item in result.not_committed)
            _record(log, stage, applied=result.committed, refused=refused, whole=False, branch=branch)

        chosen, include = choice.matchers(changes)
        return commit_to_branch(
            stage, changes.changes, branch=branch, text=text, chosen=chosen, include=include,
            contents=choice.contents, noted=noted,
        )  # fmt: skip


def commit_text(session: SessionFiles, message: str, *, unreviewed: bool, author: Author) -> CommitText:
    """Return what a commit of a session's changes says, and its label if nobody looked at them."""
    lines = [message.strip(), "", *label_lines(session.folder, unreviewed=unreviewed)]
    return CommitText(
        name=author.name, email=author.email, message="\n".join(lines), seconds=int(time.time())
    )


def label_lines(folder: Path, *, unreviewed: bool = True) -> list[str]:
    """Return the metadata of a patch or commit: its session and, unless reviewed, what that exercised."""
    line = exercised(folder, read_policy(folder).grant)
    held = [f"Pairlock-Unreviewed: {'+'.join(in_order(line)) or 'none'}"] if unreviewed else []
    return [f"Pairlock-Session: {folder.name}", *held]


@contextmanager
def _taking(
    session: SessionFiles, state: Path, choice: Choice
) -> Iterator[tuple[HostLog, OpenStage, ChangeSet]]:
    with runners_kept_out(session):
        finish_kept_still(session, state)
        with _host_log(state) as log, _to_be_taken(session, state, choice) as (stage, changes):
            yield log, stage, changes


@contextmanager
def _to_be_taken(session: SessionFiles, state: Path, choice: Choice) -> Iterator[tuple[OpenStage, ChangeSet]]:
    """Open what is taken; what nobody looked at labels the workspace before anything is written."""
    with opened(session.folder) as (stage, changes):
        if choice.shown is not None and changes != choice.shown:
            raise InvalidInputError(
                "the changes are not those that were shown", hint="look at them again: `pairlock diff`"
            )
        choice.matchers(changes)  # a word that names nothing is told before anything is labelled
        if choice.shown is None:
            label_unseen(session.folder, state, stage.workspace)
        yield stage, changes


def label_unseen(folder: Path, state: Path, workspace: WorkspaceIdentity) -> None:
    """Label a workspace with a session whose changes are about to be written there, and nobody looked at.

    Raises:
        RefusedError: When it would make three with a session that works there now.
        sandbox.stage.errors.LabelError: When the label cannot be read or written.
    """
    line = exercised(folder, read_policy(folder).grant)
    require_lineage_beside(state, workspace, folder.name, line, writes=True)
    why = "changes were applied that nobody had to look at"
    wrote_unreviewed(state, workspace, folder.name, line, why=why)


def finish_interrupted(session: SessionFiles, state: Path) -> tuple[str, ...]:
    """Finish or drop an apply that was killed, and return what was finished; it is recorded as any other.

    Raises:
        InvalidInputError: When the session is still running.
        sandbox.stage.errors.StageError: When the stage cannot be opened, or the workspace not be written.
    """
    refuse_running(session)
    if not StageFolder(session.folder / "stage").journal.exists():
        return ()
    with runners_kept_out(session):
        return finish_kept_still(session, state)


def finish_kept_still(session: SessionFiles, state: Path) -> tuple[str, ...]:
    """As `finish_interrupted`, for who holds the session's lock."""
    if not StageFolder(session.folder / "stage").journal.exists():
        return ()
    with open_stage(session.folder) as stage:
        recovery = recover(stage, noted=finished_noted(session.folder, state))
    return () if recovery is None or recovery.undone else recovery.finished


def finished_noted(folder: Path, state: Path) -> Callable[[Recovery], None]:
    """Return what records an apply of a session that was killed and is finished now."""

    def noted(recovery: Recovery) -> None:
        with _host_log(state) as log, opened(folder) as (stage, changes):
            whole = not (changes.changes or changes.troubles)
            _record(log, stage, applied=recovery.finished, refused=(), whole=whole)

    return noted


def _host_log(state: Path) -> HostLog:
    """Open the host's log, so that one that cannot be written is known before anything is changed."""
    return HostLog(state, writer=pairlock_version())


def _record(  # noqa: PLR0913 - the fields of one entry, each once
    log: HostLog,
    stage: OpenStage,
    *,
    applied: tuple[str, ...],
    refused: tuple[str, ...],
    whole: bool,
    branch: str = "",
) -> None:
    log.append(
        StageApplied(
            session=stage.folder.path.parent.name,
            workspace=stage.workspace.path,
            applied=applied,
            refused=refused,
            by=who(),
            whole=whole,
            branch=branch,
        )
    )
