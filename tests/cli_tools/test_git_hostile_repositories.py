"""Repositories made to harm their reader: names that climb, paths in an index, history that lies (B23)."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.cli_tools.repositories import ask, commit, new_repository, run_git

if TYPE_CHECKING:
    from pathlib import Path

CLIMBING = ["../outside.txt", "/outside.txt", "a/../../outside.txt", "x\nfake", "\x1b[31mred"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with one commit, and a file beside it that is nobody's business."""
    (tmp_path / "outside.txt").write_text("canary of the host\n")
    folder = new_repository(tmp_path / "workspace")
    commit(folder, "first", a_txt="one\n")
    return folder


def stored(repository: Path, kind: str, content: bytes) -> str:
    """Write an object as it is, whatever git thinks of it, and return its name."""
    raw = f"{kind} {len(content)}".encode() + b"\0" + content
    name = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
    path = repository / ".git" / "objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(raw, 9))
    return name


def committed(repository: Path, tree: str) -> None:
    """Make a tree the newest commit's, with no check of git's."""
    parent = run_git(repository, "rev-parse", "HEAD").strip()
    who = "Eve <eve@example.com> 1700000001 +0000"
    text = f"tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\nevil\n"
    name = stored(repository, "commit", text.encode())
    (repository / ".git" / "refs" / "heads" / "main").write_text(f"{name}\n")


def indexed(repository: Path, *paths: str, blob: str) -> None:
    """Write an index that names these paths (gitformat-index(5), version 2)."""
    body = b"DIRC" + struct.pack(">II", 2, len(paths))
    for path in sorted(path.encode() for path in paths):
        entry = struct.pack(">10I", *[0] * 6, 0o100644, 0, 0, 19) + bytes.fromhex(blob)
        entry += struct.pack(">H", len(path)) + path
        body += entry + b"\0" * (8 - len(entry) % 8)
    (repository / ".git" / "index").write_bytes(body + hashlib.sha1(body, usedforsecurity=False).digest())


def test_names_in_a_tree_that_climb_lead_nowhere(repository: Path) -> None:
    """What a tree holds under such a name is shown as the change that it is; no file is opened by it."""
    blob = stored(repository, "blob", b"inside\n")
    entries = sorted(name.encode() for name in CLIMBING)
    tree = b"".join(b"100644 " + name + b"\0" + bytes.fromhex(blob) for name in entries)
    committed(repository, stored(repository, "tree", tree))

    shown, _ = ask(repository, "show")
    whole = [shown, ask(repository, "status"), ask(repository, "diff", revision=["HEAD~1"], to=["HEAD"])]

    assert "canary" not in str(whole)
    assert sum("+inside" in str(entry) for entry in shown) == len(CLIMBING)


def test_paths_in_an_index_that_climb_are_not_read(repository: Path) -> None:
    """The twin is a path that stays inside: its file is read and its change is shown."""
    indexed(repository, "a.txt", *CLIMBING, blob=stored(repository, "blob", b"another text here\n"))

    found, _ = ask(repository, "diff")
    whole = [found, ask(repository, "status"), ask(repository, "diff", staged=True)]

    assert "canary" not in str(whole)
    assert "-another text here\n+one" in str(
        next(entry["text"] for entry in found if entry["path"] == "a.txt")
    )


def test_replacements_and_grafts_change_no_history(repository: Path) -> None:
    """The twin: git itself shows the commit that stands for another."""
    first = run_git(repository, "rev-parse", "HEAD").strip()
    second = commit(repository, "second", a_txt="two\n")
    run_git(repository, "replace", second, first)
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "grafts").write_text(f"{second}\n")

    found, _ = ask(repository, "log")

    assert [entry["text"] for entry in found] == ["second\n", "first\n"]
    assert run_git(repository, "log", "-1", "--format=%s").strip() == "first"


def test_a_commit_graph_that_lies_changes_no_history(repository: Path) -> None:
    """Parents are read from commits: a graph of another history stands where git looks for one."""
    commit(repository, "second", a_txt="two\n")
    other = new_repository(repository.parent / "other")
    commit(other, "alone", b_txt="x\n")
    run_git(other, "commit-graph", "write", "--reachable")
    before, _ = ask(repository, "log")
    graph = repository / ".git" / "objects" / "info" / "commit-graph"
    graph.parent.mkdir(exist_ok=True)
    for content in (
        (other / ".git" / "objects" / "info" / "commit-graph").read_bytes(),
        b"CGPH" + b"\xff" * 999,
    ):
        graph.unlink(missing_ok=True)
        graph.write_bytes(content)

        assert ask(repository, "log")[0] == before


def test_a_tree_of_a_thousand_levels_is_an_answer(repository: Path) -> None:
    inner, mode = stored(repository, "blob", b"deep\n"), b"100644"
    for _ in range(1500):
        inner, mode = stored(repository, "tree", mode + b" d\0" + bytes.fromhex(inner)), b"40000"
    committed(repository, inner)

    for operation in ("show", "status", "diff"):
        try:
            ask(repository, operation)
        except Exception as error:  # noqa: BLE001 - whatever it is, it has to be a refusal
            assert type(error).__name__ == "RefusedError", operation  # noqa: PT017 - an answer is as good

    assert ask(repository, "log")[0][0]["text"] == "evil\n"
