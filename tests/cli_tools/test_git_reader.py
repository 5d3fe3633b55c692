"""What the guest reads from a repository is what git says, and none of the repository's own wishes count."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.guest.refusal import RefusedError
from tests.cli_tools.repositories import ask, commit, new_repository, run_git

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with three commits and a tag."""
    folder = new_repository(tmp_path / "work")
    commit(folder, "first", a_txt="one\ntwo\n", src__b_py="x = 1\n")
    commit(folder, "second\n\nwith a body", a_txt="one\n2\n", c_bin=b"\0\1")
    run_git(folder, "tag", "-a", "v1", "-m", "v1")
    commit(folder, "third", a_txt="one\n2\nthree", src__b_py=None)
    return folder


def letters(found: list[dict[str, Any]]) -> list[str]:
    return [f"{entry['letters']} {entry['path']}" for entry in found if entry["kind"] == "status"]


def refusal(folder: Path, operation: str, **values: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        ask(folder, operation, **values)
    return caught.value


def change_everything(folder: Path) -> None:
    commit(folder, "more", d="d\n", e="e\n", f="f\n", x="#!x\n")
    (folder / ".gitignore").write_text("*.o\n")
    (folder / "d").write_text("changed\n")
    (folder / "e").unlink()
    (folder / "x").chmod(0o755)
    (folder / "f").unlink()
    (folder / "f").symlink_to("d")
    (folder / "new").write_text("new\n")
    (folder / "made.o").write_text("o\n")
    (folder / "deep").mkdir()
    (folder / "deep" / "g").write_text("g\n")
    (folder / "staged").write_text("s\n")
    run_git(folder, "add", "staged")
    run_git(folder, "rm", "-q", "--cached", "a.txt")


def test_status_is_what_git_says(repository: Path) -> None:
    """Staged, changed, removed, made executable, turned into a link, untracked, ignored."""
    change_everything(repository)

    found, _ = ask(repository, "status")

    expected = run_git(repository, "status", "--porcelain=v1").splitlines()
    assert found[0] == {"kind": "branch", "text": "ref: refs/heads/main\n".strip()}
    assert sorted(letters(found)) == sorted(expected)


@pytest.mark.parametrize("planted", ["pipe", "link"])
def test_an_ignore_file_that_is_no_file_hides_nothing_and_is_not_waited_for(
    repository: Path, tmp_path: Path, planted: str
) -> None:
    (tmp_path / "elsewhere").write_text("*\n")
    for folder in (repository, repository / "deep"):
        folder.mkdir(exist_ok=True)
        if planted == "pipe":
            os.mkfifo(folder / ".gitignore")
        else:
            (folder / ".gitignore").symlink_to(tmp_path / "elsewhere")
    (repository / "deep" / "new").write_text("new\n")

    found, summary = ask(repository, "status")

    assert "?? deep/" in letters(found)
    assert summary["ended"] == "done"


def test_status_of_a_clean_workspace_is_empty_also_when_files_are_older_than_the_index(
    repository: Path,
) -> None:
    found, _ = ask(repository, "status")

    assert letters(found) == []


def test_a_change_that_keeps_size_and_time_is_seen_when_it_is_as_young_as_the_index(repository: Path) -> None:
    """The race that git calls racy: times alone would hide it."""
    (repository / "a.txt").write_text("one\n2\nTHREE")

    found, _ = ask(repository, "status")

    assert letters(found) == [" M a.txt"]


@pytest.mark.parametrize("staged", [False, True])
def test_a_difference_applies_to_the_old_file_and_gives_the_new_one(
    repository: Path,
    tmp_path: Path,
    staged: bool,  # noqa: FBT001 - pytest hands it in
) -> None:
    (repository / "a.txt").write_text("uno\n2\nthree\nfour")
    if staged:
        run_git(repository, "add", "a.txt")
    clean = tmp_path / "clean"
    run_git(tmp_path, "clone", "-q", str(repository), str(clean))

    found, _ = ask(repository, "diff", staged=staged)

    text = "".join(f"--- a/{entry['path']}\n+++ b/{entry['path']}\n{entry['text']}" for entry in found)
    (tmp_path / "patch").write_text(text)
    run_git(clean, "apply", str(tmp_path / "patch"))
    assert [(entry["path"], entry["letter"]) for entry in found] == [("a.txt", "M")]
    assert (clean / "a.txt").read_text() == "uno\n2\nthree\nfour"


def test_revisions_are_named_as_in_git(repository: Path) -> None:
    names = ["HEAD", "main", "v1", "HEAD~1", "HEAD^", "HEAD~2", "v1~1", "HEAD~0", "@", "refs/heads/main"]
    names.append(run_git(repository, "rev-parse", "HEAD~1").strip()[:7])

    for name in names:
        found, _ = ask(repository, "log", revision=[name], limit=1)
        assert found[0]["commit"] == run_git(repository, "rev-parse", f"{name}^{{commit}}").strip()


@pytest.mark.parametrize(
    "name",
    ["nope", "HEAD~9", "../../etc/passwd", "refs/../HEAD", "HEAD@{1}", "--all", "HEAD^3", "", "x y", "a\nb"],
)
def test_a_revision_that_is_none_is_refused(repository: Path, name: str) -> None:
    if name == "":
        assert ask(repository, "log", revision=[name])[1]["ended"] == "done"
        return

    assert refusal(repository, "log", revision=[name]).code == "revision"


def test_the_log_is_git_s(repository: Path) -> None:
    whole, _ = ask(repository, "log")
    ranged, _ = ask(repository, "log", revision=["v1..HEAD"])
    below, _ = ask(repository, "log", paths=["src"])

    assert [entry["commit"] for entry in whole] == run_git(repository, "log", "--format=%H").split()
    assert [entry["text"] for entry in whole] == ["third\n", "second\n\nwith a body\n", "first\n"]
    assert (whole[0]["author"], whole[0]["seconds"], whole[0]["offset"]) == (
        "Ada <ada@example.com>", 1700000000, 3600
    )  # fmt: skip
    assert [entry["text"] for entry in ranged] == ["third\n"]
    assert [entry["text"] for entry in below] == ["third\n", "first\n"]


def test_a_commit_is_shown_with_its_changes_and_a_file_as_it_was(repository: Path) -> None:
    shown, _ = ask(repository, "show", revision=["v1"])
    first, _ = ask(repository, "show", revision=["HEAD~2"])
    file, _ = ask(repository, "show", revision=["HEAD~2"], file=["src/b.py"])

    assert [(entry["kind"], entry.get("path"), entry.get("letter")) for entry in shown] == [
        ("commit", None, None),
        ("change", "a.txt", "M"),
        ("change", "c.bin", "A"),
    ]
    assert shown[1]["text"] == "@@ -1,2 +1,2 @@\n one\n-two\n+2\n"
    assert shown[2]["why_not"] == "binary"
    assert [entry.get("letter") for entry in first] == [None, "A", "A"]
    assert file == [{"kind": "content", "path": "src/b.py", "text": "x = 1\n"}]


def test_each_line_is_blamed_on_the_commit_that_git_blames(repository: Path) -> None:
    found, _ = ask(repository, "blame", paths=["a.txt"])
    expected = [line[:10] for line in run_git(repository, "blame", "--abbrev=9", "-s", "a.txt").splitlines()]

    assert [entry["commit"] for entry in found] == [name.lstrip("^")[:10] for name in expected] or [
        entry["commit"][:9] for entry in found
    ] == [name.lstrip("^")[:9] for name in expected]
    assert [entry["text"] for entry in found] == ["one\n", "2\n", "three"]


def test_packed_repositories_are_read_as_well(repository: Path) -> None:
    before = ask(repository, "show", revision=["v1"])
    run_git(repository, "gc", "-q", "--aggressive", "--prune=now")
    run_git(repository, "pack-refs", "--all")

    assert ask(repository, "show", revision=["v1"]) == before


def test_a_shallow_clone_ends_where_it_was_cut(repository: Path, tmp_path: Path) -> None:
    run_git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", str(tmp_path / "shallow"))

    found, result = ask(tmp_path / "shallow", "log")

    assert [entry["text"] for entry in found] == ["third\n"]
    assert result["ended"] == "done"


def test_before_the_first_commit_everything_is_new(tmp_path: Path) -> None:
    folder = new_repository(tmp_path / "empty")
    (folder / "a").write_text("a\n")
    run_git(folder, "add", "a")

    assert letters(ask(folder, "status")[0]) == ["A  a"]
    assert refusal(folder, "log").message == "there is no commit yet"


def test_a_workspace_without_a_repository_says_so(tmp_path: Path) -> None:
    assert refusal(tmp_path, "status").code == "no-repository"


HOSTILE = """[core]
\thooksPath = {0}
\tfsmonitor = {0}/run
\tsshCommand = {0}/run
\tpager = {0}/run
\teditor = {0}/run
\tattributesFile = {0}/attributes
\texcludesFile = {0}/excludes
\tworktree = {0}
[diff]
\texternal = {0}/run
[diff "x"]
\ttextconv = {0}/run
\tcommand = {0}/run
[filter "x"]
\tclean = {0}/run
\tsmudge = {0}/run
\tprocess = {0}/run
[alias]
\tstatus = !{0}/run
\tlog = !{0}/run
[include]
\tpath = {0}/more
[gpg]
\tprogram = {0}/run
[log]
\tshowSignature = true
"""


def test_nothing_that_the_repository_configures_runs_or_counts(repository: Path, tmp_path: Path) -> None:
    """Hooks, fsmonitor, external diff, textconv, filters, aliases, includes, attributes (attack B23)."""
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "run").write_text(f"#!/bin/sh\ntouch {evil}/ran\n")
    (evil / "run").chmod(0o755)
    (evil / "excludes").write_text("*\n")
    (repository / ".gitattributes").write_text("* diff=x filter=x text eol=crlf\n")
    (repository / "a.txt").write_text("one\nchanged\n")
    plain = {name: ask(repository, name, **({"paths": ["a.txt"]} if name == "blame" else {})) for name in
             ("status", "diff", "log", "show", "blame")}  # fmt: skip
    with (repository / ".git" / "config").open("a") as stream:
        stream.write(HOSTILE.replace("{0}", str(evil)))
    for hook in ("post-index-change", "pre-commit", "fsmonitor-watchman"):
        (evil / hook).symlink_to("run")
    # The twin: git itself, asked in the same way, is talked into it.
    run_git(repository, "diff")
    ran = (evil / "ran").exists()
    (evil / "ran").unlink(missing_ok=True)

    for name, before in plain.items():
        assert ask(repository, name, **({"paths": ["a.txt"]} if name == "blame" else {})) == before

    assert ran
    assert not (evil / "ran").exists()


def test_an_alternate_that_points_elsewhere_is_not_followed(repository: Path, tmp_path: Path) -> None:
    """The twin: git itself reads the object through it."""
    other = new_repository(tmp_path / "other")
    secret = commit(other, "secret", hidden="secret\n")
    (repository / ".git" / "objects" / "info" / "alternates").write_text(f"{other}/.git/objects\n")

    error = refusal(repository, "show", revision=[secret])

    assert run_git(repository, "log", "-1", "--format=%s", secret) == "secret\n"
    assert error.code == "revision"


def test_a_git_file_that_points_elsewhere_is_refused(repository: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".git").write_text(f"gitdir: {repository}/.git\n")

    error = refusal(elsewhere, "log")

    assert run_git(elsewhere, "log", "-1", "--format=%s") == "third\n"
    assert (error.code, error.message) == (
        "repository", "`.git` is no folder; one that points elsewhere is not followed"
    )  # fmt: skip


@pytest.mark.parametrize("place", [".git", ".git/objects", ".git/HEAD", ".git/index", ".git/objects/pack",
                                   ".git/refs", ".git/packed-refs", ".git/config"])  # fmt: skip
def test_a_symlink_in_the_repository_is_refused(repository: Path, tmp_path: Path, place: str) -> None:
    inside, outside = repository / place, tmp_path / "outside"
    run_git(repository, "pack-refs", "--all")
    inside.rename(outside)
    inside.symlink_to(outside)

    assert refusal(repository, "log").code == "repository"


def test_a_reference_that_points_outside_is_no_reference(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "name").write_text(run_git(repository, "rev-parse", "HEAD"))
    (repository / ".git" / "refs" / "heads" / "evil").symlink_to(tmp_path / "name")
    (repository / ".git" / "refs" / "heads" / "deep").write_text("ref: ../../../name\n")

    (repository / "file").write_text(run_git(repository, "rev-parse", "HEAD"))

    assert refusal(repository, "show", revision=["refs/../../file"]).code == "revision"
    assert refusal(repository, "log", revision=["evil"]).code == "revision"
    assert refusal(repository, "log", revision=["deep"]).code == "revision"


def test_a_file_of_the_workspace_that_is_a_link_is_not_read_through(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (repository / "a.txt").unlink()
    (repository / "a.txt").symlink_to(tmp_path / "secret")

    found, _ = ask(repository, "diff")

    assert "secret\n" not in str(found)
    assert found[0]["modes"] == "100644 -> 120000"


@pytest.mark.parametrize("name", ["HEAD", "index", "packed-refs", "shallow"])
@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"DIRC\0\0\0\2\xff\xff\xff\xff", b"ref: " * 2000])
def test_a_broken_repository_is_an_answer_and_not_a_crash(
    repository: Path, name: str, content: bytes
) -> None:
    (repository / ".git" / name).write_bytes(content)

    for operation in ("status", "diff", "log", "show"):
        try:
            ask(repository, operation)
        except RefusedError as refusal:
            assert refusal.code in ("repository", "revision")  # noqa: PT017 - an answer is as good
