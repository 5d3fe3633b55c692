"""Write what a person chose of a session's changes into the user's folder, or say why not.

Everything is prepared first (a full disk then costs nothing), and only then let happen; `recover` deals with
an apply that was killed half way. What may be applied at all is decided in `verdict`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from sandbox.stage.errors import ApplyError, PathRefusedError
from sandbox.stage.journal import Journal, Phase, load_journal, save_journal
from sandbox.stage.layout import YARD_PREFIX, MatchNothing
from sandbox.stage.opened import digest_of
from sandbox.stage.prepare import Preparation
from sandbox.stage.start import save_record
from sandbox.stage.verdict import NotApplied, Refusal, decide
from sandbox.stage.yard import StepConflictError, Yard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from sandbox.stage.changes import Change
    from sandbox.stage.journal import Step
    from sandbox.stage.layout import PathMatcher
    from sandbox.stage.opened import OpenStage


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """What an apply did."""

    applied: tuple[str, ...]
    """Paths that are now as the agent left them."""
    not_applied: tuple[NotApplied, ...]
    """Paths that were chosen and refused, or in conflict."""
    left: tuple[str, ...]
    """Paths that were not chosen."""
    partly: tuple[str, ...] = ()
    """Applied paths of which only some hunks were chosen; the others wait."""

    @property
    def complete(self) -> bool:
        """Tell whether nothing of the session's changes is left."""
        return not (self.not_applied or self.left or self.partly)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What became of an apply that was interrupted."""

    finished: tuple[str, ...]
    """Paths whose steps were finished now."""
    undone: bool
    """Whether it had not begun to change the workspace, and was dropped."""


def apply_changes(  # noqa: PLR0913 - one call from one command; each is a choice of the person's
    stage: OpenStage,
    changes: Sequence[Change],
    *,
    chosen: PathMatcher | None = None,
    include: PathMatcher | None = None,
    contents: Mapping[str, bytes] | None = None,
    noted: Callable[[ApplyResult], None] = lambda _: None,
) -> ApplyResult:
    """Apply the chosen changes to the workspace.

    Args:
        stage: The stage; its container must be stopped.
        changes: What `compute_changes` found, as the person saw it.
        chosen: Which of them to apply; all unless told otherwise.
        include: Paths that the person named although they are protected, hidden or lead out.
        contents: For files of which only some hunks were chosen: the content to write.
        noted: Told what was done while the journal still says it: what fails there, or is killed, is told
            again by `recover`.

    Raises:
        ApplyError: When the filesystem refused; the workspace is as it was.
        StageError: When an earlier apply is unfinished; call `recover` first.
    """
    if load_journal(stage.folder.journal) is not None:
        raise ApplyError("an earlier apply of this session is unfinished", hint="it is finished by `recover`")
    picked = [change for change in changes if chosen is None or chosen.matches(change.path)]
    left = tuple(change.path for change in changes if chosen is not None and not chosen.matches(change.path))
    judged = [(change, decide(change, include or MatchNothing())) for change in picked]
    accepted = [change for change, refusal in judged if refusal is None]
    refused = [refusal for _, refusal in judged if refusal is not None]
    preparation = Preparation(stage, contents or {}, {change.path: change for change in changes})

    def result(applied: list[str], failed: list[NotApplied]) -> ApplyResult:
        return ApplyResult(
            applied=tuple(applied),
            not_applied=tuple(sorted((*refused, *failed), key=lambda item: item.path)),
            left=left,
            partly=tuple(c.path for c in accepted if c.path in applied and _is_part(c, contents or {})),
        )

    if not accepted:
        noted(result([], []))
        return result([], [])
    return _run(preparation, accepted, result=result, noted=noted)


def recover(stage: OpenStage, *, noted: Callable[[Recovery], None] = lambda _: None) -> Recovery | None:
    """Finish, or drop, an apply that was interrupted; None when there is none.

    Args:
        stage: The stage; its container must be stopped.
        noted: Told what was finished, if anything, while the journal still says it.

    Raises:
        ApplyError: When the filesystem refuses; the journal is kept, and `recover` can be called again.
        StageBrokenError: When the journal is damaged.
    """
    journal = load_journal(stage.folder.journal)
    if journal is None:
        return None
    if not journal.yard.startswith(YARD_PREFIX) or "/" in journal.yard:
        raise ApplyError(f"the journal names `{journal.yard}`, which is no folder of an apply")
    yard = Yard.reopen(stage.live, journal.yard)
    paths = sorted({step.path for step in journal.steps})
    if yard is not None:
        try:
            bad = {item.path for item in _commit(yard, journal.steps)}
        except OSError as error:
            yard.close(remove=False)
            raise ApplyError(f"an interrupted apply cannot be finished: {_why(error)}") from error
        paths = [path for path in paths if path not in bad]
        _take_note(stage, journal, paths)
        yard.close(remove=True)
    recovery = Recovery(finished=tuple(paths), undone=journal.phase is Phase.PREPARE)
    if not recovery.undone:
        noted(recovery)
    stage.folder.journal.unlink()
    return recovery


def _run(
    preparation: Preparation,
    accepted: list[Change],
    *,
    result: Callable[[list[str], list[NotApplied]], ApplyResult],
    noted: Callable[[ApplyResult], None],
) -> ApplyResult:
    stage = preparation.stage
    name = YARD_PREFIX + secrets.token_hex(8)
    begun = Journal(phase=Phase.PREPARE, yard=name, steps=())
    save_journal(stage.folder.journal, begun)
    try:
        yard = Yard.make(stage.live, name)
    except OSError as error:
        stage.folder.journal.unlink()
        raise ApplyError(f"the workspace cannot be written: {_why(error)}") from error
    try:
        steps, failed = preparation.prepare(yard, accepted)
        journal = Journal(phase=Phase.COMMIT, yard=name, steps=tuple(steps))
        save_journal(stage.folder.journal, journal)
        conflicts = _commit(yard, steps)
    except OSError as error:
        if not _taken_back(stage, yard, begun):
            raise _interrupted(error) from error
        raise ApplyError(f"nothing was applied: {_why(error)}") from error
    bad = {item.path for item in (*failed, *conflicts)}
    applied = [change.path for change in accepted if change.path not in bad]
    try:
        _take_note(stage, journal, applied)
        yard.close(remove=True)
    except OSError as error:
        raise _interrupted(error) from error
    done = result(applied, _once((*failed, *conflicts)))
    noted(done)
    stage.folder.journal.unlink()
    return done


def _taken_back(stage: OpenStage, yard: Yard, begun: Journal) -> bool:
    """Take every step back and leave nothing of the apply; what cannot be taken back is finished later."""
    taken_back = yard.roll_back()
    if taken_back:
        try:
            save_journal(stage.folder.journal, begun)
        except OSError:  # a full disk may be why; without the yard its steps would pass for done
            taken_back = _removed(stage.folder.journal)
    try:
        yard.close(remove=taken_back)
    except OSError:
        return taken_back  # `recover` removes the rest, by the journal of an apply that has done nothing
    return taken_back and _removed(stage.folder.journal)


def _removed(journal: Path) -> bool:
    try:
        journal.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _interrupted(error: OSError) -> ApplyError:
    return ApplyError(
        f"the apply was interrupted: {_why(error)}",
        hint="`pairlock diff` or `apply` finishes it when that is mended",
    )


def _is_part(change: Change, contents: Mapping[str, bytes]) -> bool:
    """Tell whether what was written is not all that the agent changed in a file."""
    given, after = contents.get(change.path), change.after
    return given is not None and after is not None and sha256(given).hexdigest() != after.digest


def _commit(yard: Yard, steps: Sequence[Step]) -> list[NotApplied]:
    """Carry out every step; a path whose step finds the user faster is left alone and told."""
    conflicts = []
    for step in steps:
        try:
            yard.carry_out(step)
        except StepConflictError as error:
            conflicts.append(NotApplied(path=error.path, code=Refusal.CONFLICT, reason=error.reason))
    return conflicts


def _once(failed: Sequence[NotApplied]) -> list[NotApplied]:
    """Keep the first reason for each path."""
    return list({item.path: item for item in reversed(failed)}.values())


def _take_note(stage: OpenStage, journal: Journal, applied: Sequence[str]) -> None:
    """Take what was applied as the new start, so that what is left can be reviewed again.

    The journal then holds those steps alone: once the yard is gone, what it names counts as done.
    """
    for path in applied:
        _take_path(stage, path)
    save_record(stage.folder.record, stage.record.start)
    stage.keep_learnt()
    done = frozenset(applied)
    steps = tuple(step for step in journal.steps if step.path in done)
    save_journal(stage.folder.journal, replace(journal, steps=steps))


def _take_path(stage: OpenStage, path: str) -> None:
    stage.hashes.pop(path, None)
    try:
        now = stage.live_seen(path)
        digest = digest_of(stage.live, path) if now is not None and now.is_file else ""
    except PathRefusedError:  # what was a folder above it is a symlink now, or the user was there again
        now = None
    if now is None:
        stage.record.drop(path)
        return
    stage.record.take(path, now)
    if digest:
        stage.hashes[path] = digest


def _why(error: OSError) -> str:
    return (error.strerror or "the filesystem refused").lower()
