"""Commit what a person chose onto a new git branch, without the work tree, the index, or any hook.

Git itself only reads what the user committed, and makes the new branch. Everything of the agent's (names,
content) is written as loose objects from here, so none of it reaches a program on the host: no filter, no
hook, no attribute can run.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.stage.beneath import parents_of
from sandbox.stage.changes import ChangeKind
from sandbox.stage.errors import PathRefusedError
from sandbox.stage.feeding import refused_by_git
from sandbox.stage.gitcalls import BranchError, git_program, git_runner
from sandbox.stage.layout import MatchNothing
from sandbox.stage.opened import content_of
from sandbox.stage.sides import EntryKind, Side
from sandbox.stage.verdict import NotApplied, Refusal, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sandbox.stage.changes import Change
    from sandbox.stage.layout import PathMatcher
    from sandbox.stage.opened import OpenStage

MAX_FILE_BYTES: Final = 256 * 1024 * 1024
"""Longest file that is committed."""
_HASHES: Final = frozenset({"sha1", "sha256"})
"""Object formats that git has (gitformat-hash, `extensions.objectFormat`)."""
_SUBMODULE: Final = "160000"


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchResult:
    """A commit that was made."""

    branch: str
    """The new branch."""
    commit: str
    """Its commit, 40 hexadecimal digits, or 64 where the repository hashes by SHA-256."""
    committed: tuple[str, ...]
    """Paths that it changes, relative to the workspace."""
    not_committed: tuple[NotApplied, ...]
    """Paths that were chosen and refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitText:
    """Who commits, and what the commit says."""

    name: str
    email: str
    message: str
    seconds: int
    """Time of the commit, seconds since 1970, in UTC."""


def commit_to_branch(  # noqa: PLR0913 - one call from one command; each is a choice of the person's
    stage: OpenStage,
    changes: Sequence[Change],
    *,
    branch: str,
    text: CommitText,
    chosen: PathMatcher | None = None,
    include: PathMatcher | None = None,
    contents: Mapping[str, bytes] | None = None,
    noted: Callable[[BranchResult], None] = lambda _: None,
) -> BranchResult:
    """Commit the chosen changes on top of HEAD, as a new branch; HEAD, index and work tree stay as they are.

    Content is committed as the agent wrote it: git's own filters (line ends, large files) do not run.

    Args:
        stage: The stage.
        changes: What `compute_changes` found.
        branch: Name of the new branch; it must not exist.
        text: Author and message.
        chosen: Which changes; all unless told otherwise.
        include: Paths that the person named although they are protected, hidden or lead out.
        contents: For files of which only some hunks were chosen: the content to commit.
        noted: Told of the commit before the branch is there, so that no branch is without its entry; one that
            is killed in between leaves an entry, and a commit that no branch holds.

    Raises:
        BranchError: When nothing can be committed, the workspace is in no git repository with a commit, or
            the branch exists.
    """
    repository = _Repository.find(Path(stage.workspace.path))
    repository.check_new_branch(branch)
    tree = repository.tree()
    committed, refused = [], []
    for change in changes:
        if chosen is not None and not chosen.matches(change.path):
            continue
        refusal = _refusal(change, include or MatchNothing()) or repository.in_the_way(tree, change)
        if refusal is not None:
            refused.append(refusal)
        elif repository.put(tree, stage, change, (contents or {}).get(change.path)):
            committed.append(change.path)
    if not committed:
        raise BranchError("nothing of what was chosen can be committed", hint="`pairlock diff` shows it")
    commit = repository.commit(tree, text)
    result = BranchResult(
        branch=branch, commit=commit, committed=tuple(committed), not_committed=tuple(refused)
    )
    noted(result)
    repository.make_branch(branch, commit)
    return result


def _refusal(change: Change, include: PathMatcher) -> NotApplied | None:
    if refused_by_git(change):
        return NotApplied(path=change.path, code=Refusal.PROTECTED, reason="git does not commit it")
    return decide(change, include)


@dataclass(frozen=True, slots=True)
class _Repository:
    """A git repository, read by git and written by hand."""

    git: str
    workspace: Path
    objects: Path
    prefix: str
    """The workspace's path inside the repository, with a slash at its end; empty at the top."""
    head: str
    hash_name: str
    """What its objects are named by: `sha1` or `sha256`."""

    @classmethod
    def find(cls, workspace: Path) -> _Repository:
        git = git_program(workspace)
        run = git_runner(git, workspace)
        if run("rev-parse", "--is-inside-work-tree") != "true":
            raise BranchError("the repository has no work tree here, expected the folder of one")
        if (hash_name := run("rev-parse", "--show-object-format")) not in _HASHES:
            raise BranchError(f"the repository keeps its objects by `{hash_name}`, expected sha1 or sha256")
        _require_commit(run)
        return cls(
            git=git,
            workspace=workspace,
            objects=Path(run("rev-parse", "--path-format=absolute", "--git-path", "objects")),
            prefix=run("rev-parse", "--show-prefix"),
            head=run("rev-parse", "--verify", "HEAD^{commit}"),
            hash_name=hash_name,
        )

    def check_new_branch(self, branch: str) -> None:
        run = git_runner(self.git, self.workspace)
        if branch.startswith("-") or branch in {"", "HEAD", "@"}:
            raise BranchError(f"`{branch}` is not a name for a branch")
        run("check-ref-format", f"refs/heads/{branch}")
        listed = run("for-each-ref", "--format=%(refname)", "refs/heads/").splitlines()
        if f"refs/heads/{branch}" in listed:
            raise BranchError(f"branch `{branch}` exists already", hint="choose another name")
        if any(name.startswith(f"refs/heads/{branch}/") for name in listed):
            raise BranchError(
                f"branches below `{branch}` exist, so git keeps none of that name", hint="choose another name"
            )
        for parent in parents_of(branch):
            if f"refs/heads/{parent}" in listed:
                raise BranchError(
                    f"branch `{parent}` exists, so git keeps none below it", hint="choose another name"
                )

    def tree(self) -> dict[str, tuple[str, str]]:
        """Return mode and object of every path that HEAD has."""
        listing = git_runner(self.git, self.workspace)("ls-tree", "-r", "-z", "--full-tree", self.head)
        found = {}
        for line in filter(None, listing.split("\0")):
            about, _, path = line.partition("\t")
            mode, _, name = about.split(" ")
            found[path] = (mode, name)
        return found

    def in_the_way(self, tree: Mapping[str, tuple[str, str]], change: Change) -> NotApplied | None:
        """Say what stands above a path in the tree and is no folder; git's trees cannot hold both."""
        for parent in parents_of(self.prefix + change.path):
            if parent not in tree:
                continue
            mode, _ = tree[parent]
            what = "a submodule, which has a repository of its own" if mode == _SUBMODULE else "no folder"
            reason = f"the commit has `{parent}` above it, {what}"
            return NotApplied(path=change.path, code=Refusal.IN_THE_WAY, reason=reason)
        return None

    def put(
        self, tree: dict[str, tuple[str, str]], stage: OpenStage, change: Change, given: bytes | None
    ) -> bool:
        """Bring one change into the tree; return whether git has a form for it."""
        path = self.prefix + change.path
        after = change.after
        if after is None:
            return tree.pop(path, None) is not None
        if after.kind is EntryKind.FOLDER:
            return change.kind is ChangeKind.TYPE and tree.pop(path, None) is not None
        for inside in [other for other in tree if other.startswith(path + "/")]:
            del tree[inside]
        mode = "120000" if after.kind is EntryKind.SYMLINK else "100755" if after.mode & 0o100 else "100644"
        content = _content(stage, change, after) if given is None else given
        tree[path] = (mode, self.write(b"blob", content))
        return True

    def commit(self, tree: dict[str, tuple[str, str]], text: CommitText) -> str:
        who = f"{_plain(text.name)} <{_plain(text.email)}> {text.seconds} +0000"
        lines = [f"tree {self._tree(tree)}", f"parent {self.head}", f"author {who}", f"committer {who}", ""]
        return self.write(b"commit", os.fsencode("\n".join([*lines, text.message.rstrip() + "\n"])))

    def make_branch(self, branch: str, commit: str) -> None:
        git_runner(self.git, self.workspace)("update-ref", f"refs/heads/{branch}", commit, "0" * len(commit))

    def _tree(self, flat: dict[str, tuple[str, str]]) -> str:
        """Write the trees of a flat list of paths, innermost first, and return the top one's name."""
        entries: dict[bytes, tuple[bytes, str]] = {}
        below: dict[str, dict[str, tuple[str, str]]] = {}
        for path, (mode, name) in flat.items():
            first, slash, rest = path.partition("/")
            if slash:
                below.setdefault(first, {})[rest] = (mode, name)
            else:
                entries[os.fsencode(first)] = (mode.encode(), name)
        for folder, inside in below.items():
            # A name with a slash at its end sorts as git sorts a folder's.
            entries[os.fsencode(folder) + b"/"] = (b"40000", self._tree(inside))
        body = b"".join(
            mode + b" " + key.removesuffix(b"/") + b"\0" + bytes.fromhex(name)
            for key, (mode, name) in sorted(entries.items())
        )
        return self.write(b"tree", body)

    def write(self, kind: bytes, content: bytes) -> str:
        """Write one loose object, as git does: by a temporary file, never over one that is there."""
        whole = kind + b" %d\0" % len(content) + content
        name = hashlib.new(self.hash_name, whole, usedforsecurity=False).hexdigest()
        target = self.objects / name[:2] / name[2:]
        if target.exists():
            return name
        try:
            target.parent.mkdir(exist_ok=True)
            fresh = target.with_name(f"tmp_obj_{os.urandom(8).hex()}")
            with fresh.open("xb") as out:
                out.write(zlib.compress(whole, level=1))
                os.fsync(out.fileno())
            fresh.chmod(0o444)
            fresh.replace(target)
        except OSError as error:
            raise BranchError(f"the repository cannot be written: {error.strerror}") from error
        return name


def _require_commit(run: Callable[..., str]) -> None:
    try:
        run("rev-parse", "--verify", "HEAD")
    except BranchError as error:
        raise BranchError("the repository has no commit yet", hint="make its first one") from error


def _content(stage: OpenStage, change: Change, after: Side) -> bytes:
    if after.kind is EntryKind.SYMLINK:
        return os.fsencode(after.target)
    try:
        content = content_of(stage.upper, change.path, MAX_FILE_BYTES)
    except PathRefusedError as error:
        raise BranchError(f"`{change.path}` cannot be read: {error.reason}") from error
    if content is None:
        raise BranchError(f"`{change.path}` is longer than {MAX_FILE_BYTES // 2**20} MiB")
    if hashlib.sha256(content).hexdigest() != after.digest:
        raise BranchError(f"`{change.path}` was changed after it was reviewed")
    return content


def _plain(text: str) -> str:
    """Take out what would end a name or an address in a commit's header."""
    return "".join(c for c in text if c.isprintable() and c not in "<>").strip() or "unknown"
