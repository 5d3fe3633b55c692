"""Say with which commit each line of a file came, as `git blame` does: through merges and renames.

A line belongs to a commit when no parent has it: what a parent's version has too is handed on to that parent.
"""

from __future__ import annotations

from difflib import SequenceMatcher
from heapq import heappop, heappush

from dulwich.diff_tree import CHANGE_RENAME, RenameDetector
from dulwich.objects import Blob

from .beneath import shown
from .refusal import RefusedError
from .text import lines_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from dulwich.objects import Commit, ObjectID

    from .repository import Repository

    Lines = dict[int, int]
    """Numbers of lines, from 0: in the version that was asked about -> in another.

    INVARIANT: what two versions hand to one is disjoint; they may well hand on the same line of it.
    """

MAX_BYTES = 2 << 20
MAX_RENAMED_FILES = 200
"""Files gone and new in one commit, beyond which no rename is looked for; git's own bound is 1000."""


class Version:
    """A file as one commit has it.

    Args:
        repository: where.
        commit: which.
        path: its path in that commit.
        like: another version; where both are the same file it is not loaded again.

    Raises:
        RefusedError: code `not-found`, `is-folder` or `limit`.
    """

    def __init__(
        self, repository: Repository, commit: Commit, path: bytes, *, like: Version | None = None
    ) -> None:
        self.commit = commit
        self.path = path
        self.blob: ObjectID = repository.name(commit, path)
        if like is not None and like.blob == self.blob:
            self.lines: list[bytes] = like.lines
            return
        found = repository.store[self.blob]
        if not isinstance(found, Blob):
            raise RefusedError("is-folder", f"`{shown(path)}` is a folder; expected a file")
        if len(found.data) > MAX_BYTES:
            raise RefusedError("limit", f"`{shown(path)}` is longer than `{MAX_BYTES}` bytes")
        self.lines = lines_of(found.data)


class Blame:
    """One walk back through a file's history.

    Args:
        repository: where.
        version: the file that is asked about.
        asked: the lines that are asked about, from 0.
    """

    def __init__(self, repository: Repository, version: Version, asked: range) -> None:
        self._repository = repository
        self._waiting: dict[tuple[bytes, bytes], tuple[Version, Lines]] = {}
        self._order: list[tuple[float, tuple[bytes, bytes]]] = []
        self._renames = RenameDetector(repository.store, max_files=MAX_RENAMED_FILES)
        self.found: dict[int, Commit] = {}
        self._wait(version, {number: number for number in asked})

    def go(self) -> None:
        """Find the commit of each line that is asked about, newest commits first."""
        while self._order:
            version, lines = self._waiting.pop(heappop(self._order)[1])
            for before in sorted(self._before(version), key=lambda before: before.blob != version.blob):
                if before.blob == version.blob:
                    self._wait(before, lines)
                    lines = {}
                    break
                shared = dict(_same(version, before))
                handed = {asked: shared[ours] for asked, ours in lines.items() if ours in shared}
                for asked in handed:
                    del lines[asked]
                self._wait(before, handed)
            for asked in lines:
                self.found[asked] = version.commit

    def _wait(self, version: Version, lines: Lines) -> None:
        """Look at a version later, the newest commits first: mostly, all who hand it lines come before.

        The lines are the walk's from here on.
        """
        if not lines:
            return
        key = (bytes(version.commit.id), version.path)
        if key in self._waiting:
            self._waiting[key][1].update(lines)
            return
        self._waiting[key] = (version, lines)
        heappush(self._order, (-version.commit.commit_time, key))

    def _before(self, version: Version) -> Iterator[Version]:
        """Yield the file as the parents have it."""
        for name in self._repository.parents(version.commit):
            parent = self._repository.commit(name)
            path = self._path_in(parent, version)
            if path is not None:
                yield Version(self._repository, parent, path, like=version)

    def _path_in(self, parent: Commit, version: Version) -> bytes | None:
        """Return the file's path in a parent; None where it was not there."""
        try:
            name = self._repository.name(parent, version.path)
            if name == version.blob or isinstance(self._repository.store[name], Blob):
                return version.path
        except RefusedError:
            pass
        for change in self._renames.changes_with_renames(parent.tree, version.commit.tree):
            if change.type == CHANGE_RENAME and change.new is not None and change.new.path == version.path:
                return change.old.path if change.old is not None else None
        return None


def _same(version: Version, before: Version) -> Iterator[tuple[int, int]]:
    """Yield the numbers of lines that two versions share, in the order of both."""
    matcher = SequenceMatcher(None, version.lines, before.lines, autojunk=False)
    for ours, theirs, count in matcher.get_matching_blocks():
        yield from ((ours + number, theirs + number) for number in range(count))
