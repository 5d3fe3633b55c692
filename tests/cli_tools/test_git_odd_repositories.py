"""Repositories that go round in circles, lack what they name or name what is none: told, and never a crash.

What swells is tried in real containers, in tests/attacks/test_command_repositories.py.
"""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from cli_tools import git
from sandbox.guest.history import files_below
from sandbox.guest.refusal import RefusedError
from tests.cli_tools.repositories import ask, commit, new_repository, run_git
from tests.cli_tools.test_git_hostile_repositories import stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = new_repository(tmp_path / "work")
    commit(folder, "first", a_txt="one\n")
    return folder


def refused(repository: Path, operation: str, **values: object) -> tuple[str, str]:
    with pytest.raises(RefusedError) as caught:
        ask(repository, operation, **values)
    return caught.value.code, caught.value.message


def test_a_folder_that_cannot_be_read_hides_no_other_file(two_folders: int, tmp_path: Path) -> None:
    """As in git, whose status passes it over."""
    (tmp_path / "b").chmod(0)
    user = os.geteuid()

    try:
        if user == 0:
            os.seteuid(65534)  # root reads whatever the mode says
        found = list(files_below(two_folders, b"."))
    finally:
        os.seteuid(user)
        (tmp_path / "b").chmod(0o755)

    assert found == [b"a", b"c/in", b"d"]


def test_what_goes_away_while_files_are_listed_hides_no_other_file(two_folders: int, tmp_path: Path) -> None:
    found = files_below(two_folders, b".")

    first = next(found)
    (tmp_path / "c" / "in").unlink()
    (tmp_path / "c").rmdir()

    assert [first, *found] == [b"a", b"b/in", b"d"]


@pytest.fixture
def two_folders(tmp_path: Path) -> Iterator[int]:
    """Return a folder of two files and two folders with a file each."""
    tmp_path.chmod(0o755)
    for name in ("a", "b/in", "c/in", "d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_objects_whose_names_are_no_hashes_are_told_so_no_history_goes_in_circles(repository: Path) -> None:
    """Two commits, each the other's parent, and a tree in itself: a name that lies is found out."""
    tree = run_git(repository, "rev-parse", "HEAD^{tree}").strip()
    who = "E <e@x> 1 +0000"
    commits = [
        f"tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\nround\n"
        for parent in ("2" * 40, "1" * 40)
    ]
    for number, (kind, content) in enumerate(
        [*(("commit", text.encode()) for text in commits), ("tree", b"40000 d\0" + bytes.fromhex("3" * 40))],
        start=1,
    ):
        path = repository / ".git" / "objects" / (str(number) * 2) / (str(number) * 38)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(f"{kind} {len(content)}".encode() + b"\0" + content))

    for number in (1, 2, 3):
        code, message = refused(repository, "show", revision=[str(number) * 40])
        assert code == "repository"
        assert "ChecksumMismatch" in message


def test_a_repository_that_hashes_by_sha_256_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    run_git(folder, "init", "-q", "--object-format=sha256")
    (folder / "a").write_text("x")
    run_git(folder, "add", "-A")
    run_git(folder, "commit", "-q", "-m", "first")

    for operation in ("status", "log", "diff", "show"):
        assert refused(folder, operation) == (
            "repository", "the repository hashes by SHA-256, which is not read here",
        )  # fmt: skip


def test_an_object_that_a_partial_clone_lacks_is_named(repository: Path) -> None:
    blob = run_git(repository, "rev-parse", "HEAD:a.txt").strip()
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()

    code, message = refused(repository, "show")

    assert code == "repository"
    assert blob in message
    assert message.endswith("a partial clone lacks some")
    assert [entry["text"] for entry in ask(repository, "log")[0]] == ["first\n"]


@pytest.mark.parametrize(
    "author",
    [
        b"E <e@x> 1 +9999", b"E <e@x> 99999999999999999999 -0000", b"\xff\xfe <\x1b[31m> 1 +0100",
        b"E <e@x> 1 +01000000", b"E e@x 1 +0100", b"E <e@x>", b"E <<e>> 1 --700", b"",
    ],
)  # fmt: skip
def test_an_author_or_zone_that_is_none_is_shown_or_told(repository: Path, author: bytes) -> None:
    tree = run_git(repository, "rev-parse", "HEAD^{tree}").strip().encode()
    text = b"tree " + tree + b"\nauthor " + author + b"\ncommitter " + author + b"\n\nodd\n"
    name = stored(repository, "commit", text)
    (repository / ".git" / "refs" / "heads" / "main").write_text(f"{name}\n")

    for operation, paths in (("log", []), ("show", []), ("blame", ["a.txt"])):
        try:
            found, _ = ask(repository, operation, paths=paths)
        except RefusedError as refusal:
            assert refusal.code == "repository"  # noqa: PT017 - an answer is as good
        else:
            assert "\x1b" not in "".join(map(_written, found))


def _written(entry: dict[str, Any]) -> str:
    """Return what the commands write of an entry."""
    return git._blamed(entry) if entry["kind"] == "blame" else git._shown(entry)


def test_a_worktree_of_another_repository_is_refused_and_its_own_is_read(repository: Path) -> None:
    run_git(repository, "worktree", "add", "-q", "../tree")

    code, message = refused(repository.parent / "tree", "log")

    assert (code, message) == ("repository", "`.git` is no folder; one that points elsewhere is not followed")
    assert ask(repository, "log")[1]["ended"] == "done"


@pytest.mark.parametrize(
    "name", ["refs/heads/../../x", "refs/heads/a b", "refs/heads/\u202e", "refs/heads/x.lock"]
)
def test_packed_references_with_odd_names_lead_nowhere(repository: Path, name: str) -> None:
    head = run_git(repository, "rev-parse", "HEAD").strip()
    (repository / ".git" / "packed-refs").write_text(f"# pack-refs with: peeled\n{'3' * 40} {name}\n")

    assert refused(repository, "show", revision=[name.removeprefix("refs/heads/")])[0] == "revision"
    assert ask(repository, "show")[0][0]["commit"] == head
