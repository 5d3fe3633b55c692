"""Workspaces on other filesystems than the usual one: small, without features, with deep and odd names."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from sandbox.stage.apply import recover
from sandbox.stage.changes import compute_changes
from sandbox.stage.errors import ApplyError
from sandbox.stage.opened import open_stage
from tests.sandbox.stage.applying import apply, names, reasons, staged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Yard

MIB = 1 << 20


@contextmanager
def mounted(*words: str, at: Path) -> Iterator[None]:
    """Mount a filesystem, or skip the test where this kernel has none such."""
    done = subprocess.run(["/usr/bin/mount", *words, str(at)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this machine does not mount it: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["/usr/bin/umount", str(at)], check=True)


@contextmanager
def on_an_image(
    yard: Yard, make: str, *options: str, size: int = 16 * MIB, mount: str = "loop"
) -> Iterator[None]:
    """Put the workspace on a filesystem of its own, in a file."""
    program = shutil.which(make, path="/usr/sbin:/usr/bin:/sbin")
    if program is None:
        pytest.skip(f"there is no `{make}`")
    image = yard.top / "image"
    with image.open("wb") as out:
        out.truncate(size)
    subprocess.run([program, *options, str(image)], check=True, capture_output=True)
    with mounted("-o", mount, str(image), at=yard.workspace):
        yield


def everything(folder: Path) -> dict[str, bytes | str]:
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_an_apply_that_finds_the_disk_full_changes_nothing_and_passes_with_room(
    yard: Yard, kind: str
) -> None:
    """All or nothing: the content is written before any name is exchanged."""
    place = (
        mounted("-t", "tmpfs", "-o", "size=2m", "none", at=yard.workspace)
        if kind == "tmpfs"
        else on_an_image(yard, "mkfs.ext4", "-q", "-m", "0", size=4 * MIB)
    )
    with place:
        yard.fill({"small": "base", "gone": "base"})

        def act(inside: Path) -> None:
            (inside / "small").write_text("agent")
            (inside / "gone").unlink()
            (inside / "large").write_bytes(os.urandom(MIB))

        staged(yard, act)
        ballast = yard.workspace / "ballast"
        with ballast.open("wb", buffering=0) as out, suppress(OSError):
            while out.write(bytes(65536)):
                pass
        before = everything(yard.workspace)

        with pytest.raises(ApplyError, match="nothing was applied: no space left on device"):
            apply(yard)
        kept = everything(yard.workspace)
        ballast.unlink()
        result = apply(yard)

        assert kept == before
        assert (result.complete, (yard.workspace / "small").read_text()) == (True, "agent")
        assert [name for name in names(yard.workspace) if name != "lost+found"] == ["large", "small"]


def test_a_workspace_that_turns_read_only_is_told_and_taken_up_later(yard: Yard) -> None:
    """A disk with an error is remounted read-only by the kernel, at any moment."""
    with mounted("-t", "tmpfs", "none", at=yard.workspace):
        yard.fill({"a": "base", "b": "base"})
        staged(yard, lambda inside: [(inside / name).write_text("agent") for name in "ab"])
        subprocess.run(["/usr/bin/mount", "-o", "remount,ro", str(yard.workspace)], check=True)

        with pytest.raises(ApplyError, match="the workspace cannot be written: read-only file system"):
            apply(yard)
        kept = everything(yard.workspace)
        subprocess.run(["/usr/bin/mount", "-o", "remount,rw", str(yard.workspace)], check=True)
        result = apply(yard)

        assert kept == {"a": b"base", "b": b"base"}
        assert (result.complete, everything(yard.workspace)) == (True, {"a": b"agent", "b": b"agent"})


def test_an_apply_on_a_filesystem_that_turns_read_only_half_way_is_finished_later(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be undone either stays in the journal, and the next look finishes it: never half done."""
    from sandbox.stage import yard as steps

    with mounted("-t", "tmpfs", "none", at=yard.workspace):
        yard.fill(dict.fromkeys("abc", "base"))
        staged(yard, lambda inside: [(inside / name).write_text("agent") for name in "abc"])
        carry_out, done = steps.Yard.carry_out, []

        def then_read_only(self: steps.Yard, step: object) -> None:
            if len(done) == 1:
                subprocess.run(["/usr/bin/mount", "-o", "remount,ro", str(yard.workspace)], check=True)
            done.append(step)
            carry_out(self, step)  # type: ignore[arg-type]  # a step

        with monkeypatch.context() as patch:
            patch.setattr(steps.Yard, "carry_out", then_read_only)
            with pytest.raises(ApplyError, match="the apply was interrupted: read-only file system"):
                apply(yard)
        subprocess.run(["/usr/bin/mount", "-o", "remount,rw", str(yard.workspace)], check=True)
        with open_stage(yard.session) as stage:
            recover(stage)
            assert compute_changes(stage).changes == ()

        assert everything(yard.workspace) == dict.fromkeys("abc", b"agent")


def test_names_of_255_bytes_odd_bytes_and_200_folders_are_applied_and_deleted(yard: Yard) -> None:
    long, odd, deep = "n" * 255, os.fsdecode(b"\xff\xfe \n\x1b"), "/".join("d" * 200)
    yard.fill({f"{deep}/old": "base", "x" * 255: "base"})

    def act(inside: Path) -> None:
        yard.fill({long: "agent", odd: "agent", f"{deep}/{odd}": "agent"}, below=inside)
        (inside / deep / "old").unlink()
        (inside / ("x" * 255)).unlink()

    staged(yard, act)

    assert apply(yard).complete
    assert everything(yard.workspace) == {long: b"agent", odd: b"agent", f"{deep}/{odd}": b"agent"}


def test_a_mount_beneath_the_workspace_is_neither_shown_nor_written(yard: Yard) -> None:
    """The agent sees an empty folder there; what it puts into it would go to another filesystem."""
    yard.fill({"a": "base", "other/seen": "below"})
    with mounted("-t", "tmpfs", "none", at=yard.workspace / "other"):
        (yard.workspace / "other/secret").write_text("other disk")
        plan = yard.plan()
        with yard.mounted(plan) as inside:
            shown = names(inside)
            (inside / "other/new").write_text("agent")
            (inside / "a").write_text("agent")

        result = apply(yard)

        assert "other/secret" not in shown
        assert reasons(result) == {"other": "conflict", "other/new": "conflict"}
        assert names(yard.workspace / "other") == ["secret"]
        assert (yard.workspace / "a").read_text() == "agent"


def test_names_that_differ_in_case_alone_never_replace_what_the_user_has(yard: Yard) -> None:
    """On a folder that ignores case the agent's `readme` is the user's `README`."""
    with on_an_image(yard, "mkfs.ext4", "-q", "-O", "casefold", "-E", "encoding=utf8"):
        folder = yard.workspace / "d"
        folder.mkdir()
        if subprocess.run(["chattr", "+F", str(folder)], capture_output=True, check=False).returncode != 0:
            pytest.skip("this kernel has no case folding")
        (folder / "README").write_text("user")
        plan = yard.plan()
        upper = yard.session / "stage/upper/d"
        upper.mkdir()
        (upper / "readme").write_text("agent")
        assert plan.facts.entries

        result = apply(yard)

        assert reasons(result) == {"d/readme": "conflict"}
        assert (folder / "README").read_text() == "user"
