"""Compute what the agent changed, against what the workspace held when the session started."""

from __future__ import annotations

import stat
from bisect import bisect_left
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sandbox.stage.errors import PathRefusedError
from sandbox.stage.later import DefaultLater
from sandbox.stage.layout import MatchNothing
from sandbox.stage.renames import with_renames
from sandbox.stage.repositories import as_dot_git, as_git_names, git_folders
from sandbox.stage.second_names import SecondNames
from sandbox.stage.sides import EntryKind, Side, at_or_below, conflict_of, entry_kind, side_of
from sandbox.stage.symlinks import Links, Way
from sandbox.stage.upper import Trouble, read_upper

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sandbox.stage.base import Seen
    from sandbox.stage.later import LaterLabels
    from sandbox.stage.layout import PathMatcher, ProtectMatcher
    from sandbox.stage.opened import OpenStage
    from sandbox.stage.upper import UpperTree

MAX_READ_BYTES: Final = 16 * 2**30
"""Most bytes of the agent's files, in all, that are read for one comparison."""


class ChangeKind(StrEnum):
    """What happened to a path."""

    ADDED = "added"
    MODIFIED = "modified"
    MODE = "mode"
    TYPE = "type"
    DELETED = "deleted"


class Concern(StrEnum):
    """Why a change needs more than a glance."""

    PROTECTED = "protected"
    HIDDEN = "hidden"
    LEADS_OUT = "leads-out"
    RUNS_LATER = "runs-later"
    SPECIAL = "special"
    SETUID = "setuid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One path that the agent changed."""

    path: str
    """Relative to the workspace."""
    kind: ChangeKind
    before: Side | None
    """What the session started with; None for something new."""
    after: Side | None
    """What the agent left; None for something deleted."""
    concerns: frozenset[Concern] = frozenset()
    """Why it needs more than a glance."""
    later: str = ""
    """What may run it on the user's machine; empty when nothing does."""
    conflict: str = ""
    """What the user did to the same path meanwhile; empty when nothing that matters."""
    renamed_from: str = ""
    """For an added file: the deleted one with the same content."""
    renamed_to: str = ""
    """For a deleted file: the added one with the same content."""

    @property
    def is_folder(self) -> bool:
        """Tell whether a folder came or went, and nothing else: what lies in it is told for itself."""
        sides = (self.before, self.after)
        return None in sides and any(side is not None and side.kind is EntryKind.FOLDER for side in sides)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    """Everything that a session changed."""

    changes: tuple[Change, ...]
    """Sorted by path."""
    troubles: tuple[Trouble, ...]
    """What could not be read, and so is not among the changes."""

    @property
    def runs_later(self) -> tuple[Change, ...]:
        """Return the changes that may run on the user's machine later: files and links, not their folders."""
        return tuple(change for change in self.changes if change.later and not change.is_folder)

    @property
    def conflicts(self) -> tuple[Change, ...]:
        """Return the changes whose path the user changed meanwhile."""
        return tuple(change for change in self.changes if change.conflict)


@dataclass(slots=True)
class _Comparison:
    stage: OpenStage
    upper: UpperTree
    hide: PathMatcher
    protect: PathMatcher
    keep: PathMatcher
    later: LaterLabels
    repositories: frozenset[str]
    """Folders that git obeys, whatever they are called."""
    links: Links
    second: SecondNames
    kept: SecondNames
    """The same of what is protected from being removed."""
    troubles: list[Trouble] = field(default_factory=list)

    def all(self) -> Iterator[Change]:
        for path in removed_paths(self.stage.record, self.upper):
            yield self._judge(path, ChangeKind.DELETED, self._before(path), None)
        for path, seen in self._affordable():
            try:
                change = self._entry(path, seen)
            except PathRefusedError as error:
                self.troubles.append(Trouble(path, error.reason))
                continue
            if change is not None:
                yield change

    def _affordable(self) -> Iterator[tuple[str, Seen]]:
        """Yield what can be read in reasonable time, smallest first; a sparse file of a terabyte cannot."""
        left = MAX_READ_BYTES
        for path, seen in sorted(self.upper.entries.items(), key=lambda item: item[1].size):
            left -= seen.size if seen.is_file else 0
            if left < 0 and seen.is_file:
                self.troubles.append(Trouble(path, f"it is too long to be read: {seen.size} bytes"))
            else:
                yield path, seen

    def _entry(self, path: str, seen: Seen) -> Change | None:
        recorded = self.stage.record.get(path)
        after = side_of(self.stage.upper, path, seen)
        if recorded is None:
            return self._judge(path, ChangeKind.ADDED, None, after)
        before = self._before(path)
        kind = _kind_of_change(before, after)
        return None if kind is None else self._judge(path, kind, before, after)

    def _before(self, path: str) -> Side:
        seen = self.stage.record[path]
        kind = entry_kind(seen)
        digest = target = ""
        try:
            if kind is EntryKind.FILE:
                digest = self.stage.base_digest(path)
            elif kind is EntryKind.SYMLINK:
                target = self.stage.base_target(path)
        except PathRefusedError:  # the user put something else there: a conflict, told below
            pass
        return Side(kind=kind, mode=seen.permissions, size=seen.size, digest=digest, target=target)

    def _judge(self, path: str, kind: ChangeKind, before: Side | None, after: Side | None) -> Change:
        later = next(filter(None, map(self.later.label, self._names(path))), "")
        return Change(
            path=path,
            kind=kind,
            before=before,
            after=after,
            concerns=frozenset(self._concerns(path, after, later=later)),
            later=later,
            conflict=conflict_of(self.stage, path, before, after),
        )

    def _concerns(self, path: str, after: Side | None, *, later: str) -> Iterator[Concern]:
        way = self.links.way(path, after.target) if after and after.kind is EntryKind.SYMLINK else Way()
        places = (path, *filter(None, way.places))
        protect, second = (self.keep, self.kept) if after is None else (self.protect, self.second)
        names = {name for place in places for name in self._names(place)}
        if any(protect.matches(name) or second.found.find(name) for name in names) or (
            way.places and second.given_by(path, way.places)
        ):
            yield Concern.PROTECTED
        if any(self.hide.matches(place) or at_or_below(place, self.stage.absent) for place in places):
            yield Concern.HIDDEN
        if later:
            yield Concern.RUNS_LATER
        if after is None:
            return
        if after.kind is EntryKind.SPECIAL:
            yield Concern.SPECIAL
        if after.kind is EntryKind.FILE and after.mode & (stat.S_ISUID | stat.S_ISGID):
            yield Concern.SETUID
        if way.out:
            yield Concern.LEADS_OUT

    def _names(self, path: str) -> tuple[str, ...]:
        """Return a path, and what it would be called if every git folder were called `.git`, and only so."""
        return (path, *as_dot_git(path), *as_git_names(path, self.repositories))


def compute_changes(
    stage: OpenStage,
    *,
    hide: PathMatcher | None = None,
    protect: ProtectMatcher | None = None,
    keep: ProtectMatcher | None = None,
    later: LaterLabels | None = None,
) -> ChangeSet:
    """Compare the agent's tree with what the session started on.

    Digests of the workspace's own content are kept beside the stage as they are learnt, so that a file that
    the user touches later, without changing it, is no conflict.

    Args:
        stage: The stage; the container should be frozen or gone.
        hide: What the policy hides; such paths are marked.
        protect: What the policy protects; such paths are marked.
        keep: What it protects from being removed; the same unless told otherwise.
        later: What runs on the user's machine; the built-in list unless told otherwise.

    Raises:
        StageLimitError: When the agent's tree is too large to be read.
    """
    upper = read_upper(stage.folder)
    known = stage.known
    links = Links(stage, upper)
    paths = stage.record.keys() | upper.entries.keys()
    second = SecondNames.of((protect or MatchNothing()).patterns(), paths, links.places)
    kept = second if keep is None else SecondNames.of(keep.patterns(), paths, links.places)
    comparison = _Comparison(
        stage,
        upper,
        hide or MatchNothing(),
        protect or MatchNothing(),
        keep or protect or MatchNothing(),
        later or DefaultLater(),
        git_folders(stage.record.keys(), upper.entries.keys()),
        links,
        second,
        kept,
    )
    changes = sorted(comparison.all(), key=lambda change: change.path)
    if stage.known != known:
        stage.keep_learnt()
    troubles = (*upper.troubles, *comparison.troubles)
    return ChangeSet(
        changes=tuple(with_renames(changes)), troubles=tuple(sorted(troubles, key=lambda t: t.path))
    )


def removed_paths(record: Mapping[str, Seen], upper: UpperTree) -> set[str]:
    """Return every recorded path that the agent removed, what a removed folder held included."""
    paths = sorted(record)
    gone: set[str] = set()
    for path in upper.deleted:
        gone.update(_inside(paths, path), (path,) if path in record else ())
    for path in upper.opaque:
        gone.update(_inside(paths, path))
    for path, seen in upper.entries.items():
        before = record.get(path)
        if before is not None and before.is_folder and not seen.is_folder:
            gone.update(_inside(paths, path))
    return gone - upper.entries.keys() - {""}


def _inside(sorted_paths: list[str], folder: str) -> list[str]:
    """Return the paths below `folder`; they lie side by side in a sorted list."""
    if not folder:
        return sorted_paths
    prefix = folder + "/"
    return sorted_paths[bisect_left(sorted_paths, prefix) : bisect_left(sorted_paths, folder + "0")]


def _kind_of_change(before: Side, after: Side) -> ChangeKind | None:
    if before.kind is not after.kind:
        return ChangeKind.TYPE
    if not before.same_thing(after):
        return ChangeKind.MODIFIED
    if before.kind is not EntryKind.SYMLINK and before.mode != after.mode:
        return ChangeKind.MODE
    return None
