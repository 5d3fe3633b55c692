from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.stage import diff as diff_module
from sandbox.stage.changes import compute_changes
from sandbox.stage.diff import render_diff
from sandbox.stage.opened import open_stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Yard

    from sandbox.stage.diff import Diff

File = diff_module._File
GIT = ["/usr/bin/git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]


def diff(yard: Yard, act: Callable[[Path], object]) -> Diff:
    with yard.mounted(yard.plan()) as inside:
        act(inside)
    with open_stage(yard.session) as stage:
        return render_diff(stage, compute_changes(stage).changes)


def git_apply(yard: Yard, patch: bytes) -> None:
    """Apply a patch to the workspace with git itself."""
    environment = {"GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}
    subprocess.run(
        [*GIT, "apply", "--whitespace=nowarn", "-p1", "-"],
        cwd=yard.workspace, input=patch, check=True, env=environment, capture_output=True,
    )  # fmt: skip


def tree(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Return every file and symlink: the executable bit and the content."""
    found = {}
    for path in folder.rglob("*"):
        key = str(path.relative_to(folder))
        if path.is_symlink():
            found[key] = ("link", os.fsencode(path.readlink()))
        elif path.is_file():
            found[key] = ("x" if path.stat().st_mode & 0o100 else "-", path.read_bytes())
    return found


def test_git_applies_every_kind_of_change(yard: Yard) -> None:
    """What `git apply` makes of the patch is what the agent made."""
    yard.fill(
        {"mod": "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "del": "x\n", "mode": "m\n", "type": "t\n", "ren/a": "moved\n"}
    )
    (yard.workspace / "bin").write_bytes(bytes(range(256)) * 9)
    (yard.workspace / "link").symlink_to("mod")
    made: dict[str, tuple[str, bytes]] = {}

    def act(inside: Path) -> None:
        (inside / "mod").write_text("1\n2\nthree\n4\n5\n6\n7\n8\n9\nten")
        (inside / "del").unlink()
        (inside / "mode").chmod(0o755)
        (inside / "type").unlink()
        (inside / "type").symlink_to("mod")
        (inside / "link").unlink()
        (inside / "link").symlink_to("mode")
        (inside / "ren/a").rename(inside / "ren/b c")
        (inside / "bin").write_bytes(bytes(range(255, -1, -1)) * 9)
        (inside / "new.bin").write_bytes(b"\0\1")
        (inside / "empty").touch()
        (inside / 'tab\tquote"back\\slash é\nline').write_text("odd name\n")
        (inside / "-dash").write_text("d\n")
        (inside / "crlf").write_bytes(b"a\r\nb\x0cc\r\n")
        made.update(tree(inside))

    found = diff(yard, act)

    assert found.left_out == ()
    git_apply(yard, found.text)
    assert tree(yard.workspace) == made


def test_what_git_has_no_words_for_is_said(yard: Yard) -> None:
    def act(inside: Path) -> None:
        (inside / "folder").mkdir()
        os.mkfifo(inside / "pipe")

    found = diff(yard, act)

    assert found.text == b""
    assert {trouble.path: trouble.reason for trouble in found.left_out} == {
        "folder": "a patch has no form for a folder",
        "pipe": "it is a device, socket or pipe",
    }


def test_a_folder_that_its_files_bring_is_not_told_as_left_out(yard: Yard) -> None:
    """Only what no patch can say is told: the empty folder, not the sixty above a file."""
    yard.fill({"old/er/a": "x\n"})

    def act(inside: Path) -> None:
        yard.fill({"new/er/b": "y\n"}, below=inside)
        (inside / "new/empty").mkdir()
        shutil.rmtree(inside / "old")

    found = diff(yard, act)

    assert [trouble.path for trouble in found.left_out] == ["new/empty"]
    assert found.text.count(b"diff --git") == 2


def test_what_is_set_aside_is_a_comment_for_git_and_splits_no_rename(yard: Yard) -> None:
    """Each line of it is shown; git applies the rest, and of a rename the half that may be."""
    yard.fill({"kept": "a long enough text\n", "mod": "1\n", "odd": "x"})

    def act(inside: Path) -> None:
        (inside / "kept").rename(inside / "moved")
        (inside / "mod").write_text("2\n")
        (inside / "odd").write_bytes(b"\0\n--- a/mod\n@@ -1 +1 @@\n-1\n+3\n")

    with yard.mounted(yard.plan()) as inside:
        act(inside)
    with open_stage(yard.session) as stage:
        changes = compute_changes(stage).changes
        text = render_diff(
            stage, changes, aside=lambda change: "why not" if change.path in {"kept", "odd"} else ""
        ).text
    git_apply(yard, text)

    assert b"# not applied with the rest: why not\n# diff --git a/kept b/kept\n" in text
    assert b"rename from" not in text
    assert tree(yard.workspace) == {
        "kept": ("-", b"a long enough text\n"),
        "moved": ("-", b"a long enough text\n"),
        "mod": ("-", b"2\n"),
        "odd": ("-", b"x"),
    }


@pytest.mark.parametrize("text", ["same\n" * 30_000, "\n".join(map(str, range(30_000))), "a\nb\n" * 5_000])
def test_a_file_made_to_be_slow_to_compare_does_not_stall_the_reader(yard: Yard, text: str) -> None:
    """Line comparison is quadratic where lines repeat; such a file is one hunk, and git still applies it."""
    yard.fill({"slow": text})
    changed = text[len(text) // 2 :] + "x\n" + text[: len(text) // 2]
    begun = time.process_time()

    found = diff(yard, lambda inside: (inside / "slow").write_text(changed))

    assert time.process_time() - begun < 30
    git_apply(yard, found.text)
    assert (yard.workspace / "slow").read_text() == changed


LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"\n", b" x\n", b"-- y\n", b"+z\n"]), max_size=30)
CONTENT = st.builds(lambda lines, tail: b"".join(lines) + tail, LINES, st.sampled_from([b"", b"tail", b"a"]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=CONTENT, after=CONTENT)
def test_any_text_goes_through_git_apply(
    tmp_path_factory: pytest.TempPathFactory, before: bytes, after: bytes
) -> None:
    """Hunk ranges, missing newlines, empty files: the arithmetic of a unified diff."""
    folder = tmp_path_factory.mktemp("hunks")
    (folder / "f").write_bytes(before)
    if before == after:
        return
    patch = b"".join(diff_module._one("f", File("100644", before), File("100644", after)))

    subprocess.run(
        [*GIT, "apply", "--whitespace=nowarn", "-"], cwd=folder, input=patch, check=True, capture_output=True
    )

    assert (folder / "f").read_bytes() == after
