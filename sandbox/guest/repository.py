"""Open the workspace's git repository to read it: its references, index and objects, and nothing else of it.

No configuration, hook, attribute, filter, alternate or replacement is ever looked at, and nothing outside
`.git` in the shared folder is opened: a `.git` that is a file, or a symlink in it, is refused.
"""

from __future__ import annotations

import os
import re
import stat

from dulwich.errors import MissingCommitError
from dulwich.index import ConflictedIndexEntry, Index
from dulwich.object_store import DiskObjectStore
from dulwich.objects import Commit, ObjectID, Tag, Tree

from .beneath import Beneath, shown
from .refusal import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dulwich.index import IndexEntry
    from dulwich.object_store import BaseObjectStore
    from dulwich.objects import ShaFile

MAX_REFERENCE_BYTES = 4096
MAX_PACKED_BYTES = 64 << 20
MAX_STEPS = 10_000
_NAME = re.compile(rb"(?!.*(?:\.\.|//|@\{|\.lock$))[A-Za-z0-9_@][A-Za-z0-9_./@+-]{0,250}")
_REVISION = re.compile(rb"([^~^:]+)((?:\^[0-9]{0,2}|~[0-9]{0,5})*)")
_STEP = re.compile(rb"([~^])([0-9]*)")
_WHOLE = re.compile(rb"[0-9a-f]{40}")
_LONGER = re.compile(rb"[0-9a-f]{64}")
_PREFIX = re.compile(rb"[0-9a-f]{4,40}")
_PLACES = (b"%s", b"refs/%s", b"refs/tags/%s", b"refs/heads/%s", b"refs/remotes/%s", b"refs/remotes/%s/HEAD")
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW


class Store(DiskObjectStore):
    """An object store that has no alternates, whatever its files say."""

    @property
    def alternates(self) -> list[BaseObjectStore]:
        """Return none: an alternate is a path that the workspace chose."""
        return []


class Repository:
    """A repository, open to be read.

    Args:
        beneath: the shared folder; `.git` lies in it.

    Raises:
        RefusedError: code `no-repository`, or `repository` for one that is not read here.
    """

    def __init__(self, beneath: Beneath) -> None:
        self.beneath = beneath
        _require_plain(beneath)
        self._objects = beneath.open(b".git/objects", _FOLDER)
        self.store = Store(f"/proc/self/fd/{self._objects}")
        self._packed = self._read_packed()
        self._shallow = set((self._text(b"shallow", MAX_PACKED_BYTES) or b"").split())
        self._reference(b"HEAD")

    def close(self) -> None:
        """Close what was opened."""
        self.store.close()
        os.close(self._objects)

    @property
    def head(self) -> bytes:
        """Return what HEAD says: `ref: refs/heads/x`, or a commit's name."""
        return (self._text(b"HEAD") or b"").strip()

    def commit(self, revision: bytes) -> Commit:
        """Return the commit that a revision names, for example `HEAD~2`, `main` or `3f2a91c`.

        Raises:
            RefusedError: code `revision`.
        """
        found = _REVISION.fullmatch(revision)
        if found is None:
            raise RefusedError(
                "revision", f"`{shown(revision)}` is no revision; expected, for example, `HEAD~2`"
            )
        commit = self._peeled(self._named(found[1]), revision)
        for kind, number in _STEP.findall(found[2]):
            commit = self._step(commit, kind, int(number or b"1"), revision)
        return commit

    def parents(self, commit: Commit) -> list[ObjectID]:
        """Return a commit's parents; none where the history was cut off (a shallow clone)."""
        return [] if commit.id in self._shallow else list(commit.parents)

    def tree(self, commit: Commit | None) -> ObjectID | None:
        """Return the name of a commit's tree; None for no commit."""
        return commit.tree if commit is not None else None

    def index(self) -> tuple[dict[bytes, IndexEntry], list[bytes], float]:
        """Return the index's entries, the paths in conflict, and when it was written."""
        try:
            descriptor = self.beneath.open(b".git/index", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except RefusedError as refusal:
            if refusal.code == "not-found":
                return {}, [], 0.0
            raise
        try:
            written = os.fstat(descriptor).st_mtime
            entries = dict(Index(f"/proc/self/fd/{descriptor}").iteritems())
        finally:
            os.close(descriptor)
        whole = {
            path: entry for path, entry in entries.items() if not isinstance(entry, ConflictedIndexEntry)
        }
        return whole, sorted(entries.keys() - whole.keys()), written

    def _named(self, name: bytes) -> ObjectID:
        if name == b"@":
            name = b"HEAD"
        if _WHOLE.fullmatch(name):
            return ObjectID(name)
        if _NAME.fullmatch(name):
            for place in _PLACES:
                found = self._reference(place.replace(b"%s", name))
                if found is not None:
                    return found
        if _PREFIX.fullmatch(name):
            several = sorted(set(self.store.iter_prefix(name)))
            if len(several) == 1:
                return several[0]
            if several:
                raise RefusedError("revision", f"`{shown(name)}` is the beginning of {len(several)} names")
        what = "there is no commit yet" if name == b"HEAD" else f"no revision `{shown(name)}`"
        raise RefusedError("revision", what)

    def _reference(self, name: bytes) -> ObjectID | None:
        for _ in range(5):
            text = (self._text(name) or self._packed.get(name, b"")).strip()
            if _WHOLE.fullmatch(text):
                return ObjectID(text)
            if _LONGER.fullmatch(text):
                raise RefusedError("repository", "the repository hashes by SHA-256, which is not read here")
            if not text.startswith(b"ref: ") or not _NAME.fullmatch(text[5:]):
                return None
            name = text[5:]
        return None

    def _text(self, name: bytes, most: int = MAX_REFERENCE_BYTES) -> bytes | None:
        """Return the content of a small file in `.git`; None where there is none."""
        try:
            descriptor = self.beneath.open(b".git/" + name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except RefusedError:
            return None
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            return stream.read(most)

    def _read_packed(self) -> dict[bytes, bytes]:
        lines = (self._text(b"packed-refs", MAX_PACKED_BYTES) or b"").splitlines()
        pairs = (line.split(b" ", 1) for line in lines if line[:1] not in (b"#", b"^"))
        return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}

    def _peeled(self, name: ObjectID, revision: bytes) -> Commit:
        for _ in range(10):
            found = self._object(name, revision)
            if isinstance(found, Commit):
                return found
            if not isinstance(found, Tag):
                break
            name = found.object[1]
        raise RefusedError("revision", f"`{shown(revision)}` is no commit")

    def _object(self, name: ObjectID, revision: bytes) -> ShaFile:
        try:
            return self.store[name]
        except (KeyError, MissingCommitError):
            raise RefusedError("revision", f"no revision `{shown(revision)}`") from None

    def _step(self, commit: Commit, kind: bytes, number: int, revision: bytes) -> Commit:
        if number > MAX_STEPS:
            raise RefusedError("revision", f"`{shown(revision)}` goes back more than {MAX_STEPS} commits")
        steps, which = (number, 1) if kind == b"~" else (1, number)
        for _ in range(steps if which else 0):
            parents = self.parents(commit)
            if len(parents) < which:
                raise RefusedError("revision", f"`{shown(revision)}` goes back beyond the first commit")
            commit = self._peeled(parents[which - 1], revision)
        return commit

    def entry(self, commit: Commit, path: bytes) -> ShaFile:
        """Return the file or folder at a path in a commit.

        Raises:
            RefusedError: code `not-found`.
        """
        return self.store[self.name(commit, path)]

    def name(self, commit: Commit, path: bytes) -> ObjectID:
        """Return the name of the file or folder at a path in a commit, which is not loaded for it.

        Raises:
            RefusedError: code `not-found`.
        """
        found: ObjectID = commit.tree
        for part in [part for part in path.split(b"/") if part not in (b"", b".")]:
            folder = self.store[found]
            inner = folder[part][1] if isinstance(folder, Tree) and part in folder else None
            if inner is None or inner not in self.store:
                raise RefusedError("not-found", f"`{shown(path)}` is not in that commit")
            found = inner
        return found


def _require_plain(beneath: Beneath) -> None:
    """Refuse a `.git` that is not a folder with its own objects in it."""
    folder, name = beneath.parent(b".git")
    try:
        kind = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        raise RefusedError("no-repository", "there is no `.git` at the top of the workspace") from None
    finally:
        os.close(folder)
    if not stat.S_ISDIR(kind):
        raise RefusedError("repository", "`.git` is no folder; one that points elsewhere is not followed")
    if _exists(beneath, b".git/reftable"):
        raise RefusedError("repository", "the repository keeps its references in a reftable")
    for place in (b".git", b".git/objects", b".git/objects/pack"):
        _require_no_links(beneath, place)


def _require_no_links(beneath: Beneath, place: bytes) -> None:
    if place == b".git/objects/pack" and not _exists(beneath, place):
        return
    try:
        folder = beneath.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except RefusedError:
        raise RefusedError("repository", f"`{shown(place)}` is not as git makes it") from None
    try:
        links = [entry.name for entry in os.scandir(folder) if entry.is_symlink()]
    finally:
        os.close(folder)
    for name in links:
        if name not in ("hooks", "info"):  # nobody looks into those
            where = f"{shown(place)}/{shown(os.fsencode(name))}"
            raise RefusedError("repository", f"`{where}` is a symlink; it is not followed")


def _exists(beneath: Beneath, path: bytes) -> bool:
    try:
        os.close(beneath.open(path, os.O_PATH | os.O_NOFOLLOW))
    except RefusedError:
        return False
    return True
