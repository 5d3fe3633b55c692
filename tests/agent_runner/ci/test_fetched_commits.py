"""Commits that the host fetches: nothing of them runs, and what they may take is bounded."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent_runner.ci.fetching import BOUNDS, Bounds, fetch_commit
from agent_runner.ci.git import Git
from agent_runner.ci.process import tail_of
from agent_runner.ci.task import Checkout
from agent_runner.errors import InvalidInputError, RunnerError

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", str(folder), *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository that tries to have something run, wherever git would look for it."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "code.py").write_text("print(1)\n")
    (folder / ".gitattributes").write_text("*.py filter=evil diff=evil merge=evil\n* filter=lfs\n")
    (folder / ".gitmodules").write_text(f'[submodule "m"]\n\tpath = m\n\turl = {folder}\n')
    (folder / ".lfsconfig").write_text("[lfs]\n\turl = https://attacker.example\n")
    (folder / "link").symlink_to("/etc/passwd")
    git(folder, "add", "--all")
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{COMMIT},m")
    git(folder, "commit", "--quiet", "--message", "x")
    return folder


def source(repository: Path, commit: str = "") -> Checkout:
    return Checkout.model_construct(
        git=f"file://{repository}", commit=commit or git(repository, "rev-parse", "HEAD")
    )


def fetched(given: Checkout, target: Path, bounds: Bounds = BOUNDS) -> list[str]:
    target.mkdir()
    asyncio.run(fetch_commit(given, target, protocol="file", bounds=bounds))
    return sorted(path.name for path in target.iterdir())


def test_the_files_of_a_commit_are_there_and_nothing_ran(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters, hooks and a template of the user's own configuration, which attributes name."""
    home, ran = tmp_path / "home", tmp_path / "ran"
    hooks = home / "template/hooks"
    hooks.mkdir(parents=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {ran}\n")
        (hooks / name).chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[init]\n\ttemplateDir = {home}/template\n[core]\n\thooksPath = {hooks}\n\tfsmonitor = touch {ran}\n"
        f'[filter "evil"]\n\tsmudge = touch {ran}; cat\n[filter "lfs"]\n\tsmudge = touch {ran}; cat\n'
        "[submodule]\n\trecurse = true\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", f"touch {ran}")
    subprocess.run(["git", "clone", "--quiet", str(repository), str(tmp_path / "used")], check=False)
    assert ran.exists()  # of the user's own git they do run
    ran.unlink()

    names = fetched(source(repository), tmp_path / "workspace")

    assert names == [".gitattributes", ".gitmodules", ".lfsconfig", "code.py", "link", "m"]
    assert (tmp_path / "workspace/code.py").read_text() == "print(1)\n"
    assert not any((tmp_path / "workspace/m").iterdir())
    assert not ran.exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".fetching-")]


def test_a_commit_that_is_not_there_or_only_a_branch_of_its_name_is_refused(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "branch", COMMIT)
    git(repository, "tag", "a" * 40)

    for number, commit in enumerate((COMMIT, "a" * 40)):
        with pytest.raises(RunnerError, match="cannot be fetched"):
            fetched(source(repository, commit), tmp_path / f"w{number}")
        assert not any((tmp_path / f"w{number}").iterdir())


def test_a_commit_of_a_repository_with_long_hashes_is_fetched(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--object-format=sha256")
    (folder / "code.py").write_text("print(1)\n")
    given = commit(folder, "code.py")

    assert len(given.commit) == 64
    assert fetched(given, tmp_path / "made") == ["code.py"]


def commit(repository: Path, *paths: str) -> Checkout:
    git(repository, "add", *paths)
    git(repository, "commit", "--quiet", "--message", "x")
    return source(repository)


def test_a_file_that_grows_too_large_is_not_written(repository: Path, tmp_path: Path) -> None:
    """A server decides how much it sends; zeros take a thousandth of their room on the way."""
    (repository / "zeros").write_bytes(bytes(4 * 1024 * 1024))
    given = commit(repository, "zeros")

    with pytest.raises(RunnerError, match="cannot be fetched"):
        fetched(given, tmp_path / "made", Bounds(pack_bytes=1024 * 1024))

    assert not [path for path in (tmp_path / "made").iterdir() if path.stat().st_size > 1024 * 1024]
    assert not [*tmp_path.glob(".fetching-*")]


def test_a_commit_of_too_many_bytes_is_refused_before_one_is_written(
    repository: Path, tmp_path: Path
) -> None:
    for number in range(5):
        (repository / f"zeros-{number}").write_bytes(bytes(1024 * 1024))
    given = commit(repository, ".")

    with pytest.raises(InvalidInputError, match="have more than 5242880 bytes"):
        fetched(given, tmp_path / "made", Bounds(tree_bytes=5 * 1024 * 1024))
    names = fetched(given, tmp_path / "held", Bounds(tree_bytes=6 * 1024 * 1024))

    assert not any((tmp_path / "made").iterdir())
    assert "zeros-4" in names


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """Return a repository of a few hundred bytes, whose commit has ten thousand million files."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "x").write_text("x")
    entry, mode = git(folder, "hash-object", "-w", "x"), "100644 blob"
    for _ in range(10):
        lines = "".join(f"{mode} {entry}\t{number}\n" for number in range(10))
        entry = subprocess.run(
            ["git", "-C", str(folder), "mktree"], input=lines, capture_output=True, text=True, check=True
        ).stdout.strip()
        mode = "040000 tree"
    git(folder, "update-ref", "HEAD", git(folder, "commit-tree", entry, "-m", "x"))
    return folder


def test_a_tree_that_holds_itself_again_and_again_is_refused_before_it_is_written(
    endless: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match="more than 250000 files and folders"):
        fetched(source(endless), tmp_path / "made")

    assert not any((tmp_path / "made").iterdir())


async def test_a_listing_that_is_read_no_further_holds_nobody_up(endless: Path) -> None:
    """Git is ended while as much of its output waits as is held back, and more in the pipe."""

    async def refusing(told: asyncio.StreamReader) -> None:
        await told.readexactly(1)
        await asyncio.sleep(1)
        raise InvalidInputError("no further")

    running = Git(folder=str(endless), protocol="file", largest_bytes=1024, seconds=60)
    async with asyncio.timeout(30):
        with pytest.raises(InvalidInputError, match="no further"):
            await running.read(("ls-tree", "-r", "-t", "-l", "-z", "HEAD"), refusing)

    assert (await running.read(("ls-tree", "-z", "HEAD"), tail_of)).count(b"\0") == 10


def test_attributes_of_the_commit_change_no_byte_of_its_files(repository: Path, tmp_path: Path) -> None:
    """`ident` alone would make a file ten times as large as what was counted."""
    (repository / "id.txt").write_bytes(b"$Id$\n" * 100)
    (repository / "sub").mkdir()
    (repository / "sub/other.txt").write_bytes(b"a\nb\n")
    (repository / ".gitattributes").write_text("*.txt ident eol=crlf text export-subst\n")
    (repository / "sub/.gitattributes").write_text("*.txt working-tree-encoding=UTF-16 -ident\n")
    for name, at in (("id.txt", "id.txt"), ("sub/other.txt", "sub/other.txt")):
        made = git(repository, "hash-object", "-w", "--no-filters", name)
        git(repository, "update-index", "--add", "--cacheinfo", f"100644,{made},{at}")
    git(repository, "add", ".gitattributes", "sub/.gitattributes")
    git(repository, "commit", "--quiet", "--message", "x")

    fetched(source(repository), tmp_path / "made")

    assert (tmp_path / "made/id.txt").read_bytes() == b"$Id$\n" * 100
    assert (tmp_path / "made/sub/other.txt").read_bytes() == b"a\nb\n"


def test_a_link_stays_a_link_and_names_that_differ_in_case_alone_stay_apart(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "away").symlink_to(tmp_path / "outside")
    (repository / "Code.py").write_text("print(2)\n")
    (tmp_path / "outside").mkdir()

    fetched(commit(repository, "away", "Code.py"), tmp_path / "made")

    assert (tmp_path / "made/away").readlink() == tmp_path / "outside"
    assert (tmp_path / "made/code.py").read_text() != (tmp_path / "made/Code.py").read_text()
    assert not any((tmp_path / "outside").iterdir())


def test_submodules_that_name_a_program_are_refused(repository: Path, tmp_path: Path) -> None:
    modules = repository / ".gitmodules"
    modules.write_text(modules.read_text() + "\tupdate = !touch ran\n")
    git(repository, "commit", "--quiet", "--message", "x", ".gitmodules")

    with pytest.raises(RunnerError, match="cannot be fetched"):
        fetched(source(repository), tmp_path / "workspace")


@pytest.mark.parametrize("name", [".git/hooks/post-checkout", ".GIT/config", "git~1/config", "../x"])
def test_a_tree_that_would_write_into_a_repository_or_out_of_the_folder_is_refused(
    tmp_path: Path, name: str
) -> None:
    """Objects are made by hand: git itself would not add such a name."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "x").write_text("#!/bin/sh\n")
    entry = b"100755 x\0" + bytes.fromhex(git(folder, "hash-object", "-w", "x"))
    for part in reversed(name.split("/")):
        entry = entry.replace(b" x\0", f" {part}\0".encode()) if b" x\0" in entry else entry
        tree = subprocess.run(
            ["git", "-C", str(folder), "hash-object", "-w", "-t", "tree", "--literally", "--stdin"],
            input=entry, capture_output=True, check=True,
        ).stdout.decode().strip()  # fmt: skip
        entry = b"40000 x\0" + bytes.fromhex(tree)
    git(folder, "update-ref", "HEAD", git(folder, "commit-tree", tree, "-m", "x"))

    with pytest.raises(RunnerError, match="cannot be fetched"):
        fetched(source(folder), tmp_path / "workspace")


def test_only_https_is_spoken_outside_of_these_tests(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="'file' not allowed"):
        asyncio.run(fetch_commit(source(repository), tmp_path))
