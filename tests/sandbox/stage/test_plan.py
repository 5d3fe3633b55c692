from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sandbox.stage import (
    Access,
    Copy,
    Direct,
    MatchNothing,
    Overlay,
    OverlayOnCopy,
    ReadOnly,
    StageError,
    fall_back_to_copy,
)
from sandbox.stage.listing import AGAIN
from sandbox.stage.scan import scan
from sandbox.stage.start import load_record
from sandbox.stage.summary import hidden_line

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Yard


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_the_agents_writes_land_in_upper_and_not_in_the_workspace(yard: Yard) -> None:
    """An overlay on the live workspace, mounted with the very options of the plan."""
    yard.fill({"src/a.py": "old\n", "keep": "k\n"})

    plan = yard.plan()

    assert type(plan) is Overlay
    with yard.mounted(plan) as inside:
        (inside / "src/a.py").write_text("new\n")
        (inside / "fresh").write_text("f\n")
        (inside / "keep").unlink()
    assert (yard.workspace / "src/a.py").read_text() == "old\n"
    assert names(plan.upper) == ["fresh", "keep", "src"]
    assert names(yard.workspace) == ["keep", "src"]


def test_a_pattern_that_hides_nothing_costs_no_layer(yard: Yard) -> None:
    yard.fill({"a": "a"})

    plan = yard.plan("*.pem")

    assert isinstance(plan, Overlay)
    assert plan.lower == (yard.workspace,)
    assert plan.facts.hidden == ()


def test_hidden_paths_are_absent_and_upper_stays_empty(yard: Yard) -> None:
    """Whiteouts lie in a lower layer of their own, so that upper holds only what the agent did."""
    yard.fill({".env": "s", "src/.env": "s", "src/a": "a", "vault/deep/key": "s", "b": "b"})

    plan = yard.plan(".env", "vault")

    assert isinstance(plan, Overlay)
    assert plan.facts.hidden == (".env", "src/.env", "vault")
    with yard.mounted(plan) as inside:
        seen = sorted(str(p.relative_to(inside)) for p in inside.rglob("*"))
        assert not (inside / ".env").exists()
        with pytest.raises(FileNotFoundError):
            (inside / "vault/deep/key").read_text()
    assert seen == ["b", "src", "src/a"]
    assert names(plan.upper) == []
    assert set(load_record(plan.facts.folder.record).paths()) == {"", "src", "src/a", "b"}


def test_a_hard_link_to_a_hidden_file_is_hidden_too(yard: Yard) -> None:
    """B05: a second name of a secret is a route to it; one of an ordinary file is not."""
    yard.fill({"vault/key": "s", ".env": "s", "plain": "p"})
    os.link(yard.workspace / "vault/key", yard.workspace / "innocent")
    os.link(yard.workspace / ".env", yard.workspace / "env.txt")
    os.link(yard.workspace / "plain", yard.workspace / "plain2")

    plan = yard.plan(".env", "vault")

    assert plan.facts.hidden == (".env", "env.txt", "innocent", "vault")
    with yard.mounted(plan) as inside:
        assert names(inside) == ["plain", "plain2"]


def test_sockets_pipes_and_devices_are_absent(yard: Yard) -> None:
    """A socket of the host in the workspace is a way out; a pipe stalls whoever opens it."""
    yard.fill({"a": "a"})
    os.mkfifo(yard.workspace / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(yard.workspace / "agent.sock"))

    plan = yard.plan()

    assert plan.facts.special == ("agent.sock", "pipe")
    with yard.mounted(plan) as inside:
        assert names(inside) == ["a"]


def test_hidden_folders_show_the_workspaces_own_attributes(yard: Yard) -> None:
    """The hidden layer's folders are the topmost ones, and must not change what the agent sees."""
    yard.fill({"src/.env": "s", "src/a": "a"})
    (yard.workspace / "src").chmod(0o750)
    os.utime(yard.workspace / "src", ns=(5, 7_000_000_000))
    yard.workspace.chmod(0o711)

    plan = yard.plan(".env")

    with yard.mounted(plan) as inside:
        assert (inside / "src").stat().st_mode & 0o777 == 0o750
        assert (inside / "src").stat().st_mtime_ns == 7_000_000_000
        assert inside.stat().st_mode & 0o777 == 0o711


def test_read_access_is_an_overlay_without_an_upper_folder(yard: Yard) -> None:
    yard.fill({".env": "s", "a": "a"})

    plan = yard.plan(".env", access=Access.READ)

    assert isinstance(plan, ReadOnly)
    with yard.mounted(plan) as inside:
        assert names(inside) == ["a"]
        with pytest.raises(OSError, match="Read-only"):
            (inside / "b").touch()


def test_read_access_with_nothing_hidden_is_one_layer(yard: Yard) -> None:
    yard.fill({"a": "a"})

    plan = yard.plan(access=Access.READ)

    assert isinstance(plan, ReadOnly)
    assert plan.lower == (yard.workspace,)


def test_a_workspace_of_another_uid_is_copied_and_never_chowned(yard: Yard) -> None:
    """Root runs pairlock, the container is 65532: only the copy changes hands."""
    yard.fill({"src/a": "old", "src/.env": "secret"})
    (yard.workspace / "src/a").chmod(0o600)
    (yard.workspace / "link").symlink_to("src/a")
    before = (yard.workspace / "src/a").stat()

    plan = yard.plan(".env", uid=65532)

    assert type(plan) is OverlayOnCopy
    with yard.mounted(plan) as inside:
        yard.as_user(65532, lambda: str((inside / "src/a").write_text("new")))
        assert names(inside / "src") == ["a"]
        assert (inside / "link").readlink().name == "a"
    after = (yard.workspace / "src/a").stat()
    assert (after.st_uid, after.st_ctime_ns, after.st_size) == (0, before.st_ctime_ns, 3)
    assert (plan.upper / "src/a").read_text() == "new"
    assert (plan.upper / "src/a").stat().st_uid == 65532


@pytest.mark.parametrize("name", ["x,lowerdir=", "a:b", "a\\b", 'a"b', "a\nb", "a\udcffb", "a\u202eb"])
def test_a_name_that_means_something_in_mount_options_takes_the_copy(yard: Yard, name: str) -> None:
    """B115: `x,lowerdir=/etc` must not become an option."""
    moved = yard.workspace.rename(yard.top / name)
    (yard.top / "workspace").symlink_to(moved)

    plan = yard.plan()

    assert isinstance(plan, Copy)
    assert "path" in plan.facts.reason


def test_a_remote_engine_takes_the_copy_and_direct_is_refused(yard: Yard) -> None:
    assert isinstance(yard.plan(engine_local=False), Copy)
    yard.session.rename(yard.session.with_name("s0"))
    yard.session.mkdir()
    with pytest.raises(StageError, match="direct"):
        yard.plan(access=Access.DIRECT, engine_local=False)
    assert not (yard.session / "stage").exists(), "a stage that could not be made leaves nothing behind"


def test_a_state_folder_on_an_overlay_takes_the_copy(yard: Yard) -> None:
    """As in many CI containers: upper cannot lie on overlayfs."""
    state = yard.top / "state"
    for name in ("lower", "upper", "work"):
        (yard.top / name).mkdir()
    options = f"lowerdir={yard.top}/lower,upperdir={yard.top}/upper,workdir={yard.top}/work"
    subprocess.run(["/usr/bin/mount", "-t", "overlay", "overlay", "-o", options, state], check=True)
    try:
        yard.session.mkdir(parents=True)

        plan = yard.plan()
    finally:
        subprocess.run(["/usr/bin/umount", state], check=True)

    assert isinstance(plan, Copy)
    assert plan.facts.reason == "the state folder lies on an overlay itself"


def test_direct_is_a_bind_and_is_refused_where_a_socket_would_show(yard: Yard) -> None:
    plan = yard.plan(access=Access.DIRECT)
    assert isinstance(plan, Direct)
    assert plan.source == yard.workspace
    os.mkfifo(yard.workspace / "pipe")
    yard.session.rename(yard.session.with_name("s0"))
    yard.session.mkdir()

    with pytest.raises(StageError, match="pipe"):
        yard.plan(access=Access.DIRECT)


def test_the_mount_is_executable_only_with_exec(yard: Yard) -> None:
    yard.fill({"tool": "#!/bin/sh\nexit 0\n"})
    (yard.workspace / "tool").chmod(0o755)

    plan = yard.plan(executable=False)

    with yard.mounted(plan) as inside, pytest.raises(PermissionError):
        subprocess.run([inside / "tool"], check=True)
    yard.session.rename(yard.session.with_name("s0"))
    yard.session.mkdir()
    with yard.mounted(yard.plan(executable=True)) as inside:
        subprocess.run([inside / "tool"], check=True)


def test_falling_back_to_the_copy_is_remembered(yard: Yard) -> None:
    plan = yard.plan()

    copy = fall_back_to_copy(plan, "the engine is not on this machine")

    assert copy.writable
    about = json.loads(plan.facts.folder.about.read_bytes())
    assert (about["strategy"], about["reason"]) == ("Copy", "the engine is not on this machine")


def test_the_stages_own_files_are_private(yard: Yard) -> None:
    folder = yard.plan().facts.folder

    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert [folder.about.stat().st_mode & 0o777, folder.record.stat().st_mode & 0o777] == [0o600, 0o600]


def test_a_folder_that_cannot_be_listed_is_hidden_and_told(yard: Yard) -> None:
    """A scan that fails shows nothing (B36); tried as an ordinary user, whom permissions bind."""
    yard.fill({"locked/.env": "s", "a": "a"})
    (yard.workspace / "locked").chmod(0o311)

    def look() -> str:
        found = scan(yard.workspace, MatchNothing())
        return f"{found.absent} {sorted(found.start.paths())}"

    said = yard.as_user(65534, look)

    assert said == "('locked',) ['', 'a']"


def test_a_missing_session_folder_or_a_second_stage_is_refused(yard: Yard) -> None:
    yard.plan()

    with pytest.raises(StageError, match="already holds a stage"):
        yard.plan()


def test_what_is_hidden_is_counted_and_named_for_the_start(yard: Yard) -> None:
    """Decided 23: the count, the first names escaped, and nothing when the agent sees all."""
    yard.fill(dict.fromkeys([f"s{n}.key" for n in range(6)] + ["e\x1b.key", "seen"], "x"))

    line = hidden_line(yard.plan("*.key").facts.absent)

    assert line == "7 paths are hidden from the agent: e\\x1b.key, s0.key, s1.key, s2.key, s3.key and 2 more"
    assert hidden_line(()) == ""
    assert hidden_line(("a",)) == "1 path is hidden from the agent: a"


def test_the_folders_of_a_stage_are_those_of_its_record(yard: Yard) -> None:
    """What the watch over a running session begins with, whatever the names and modes are."""
    yard.fill({"a/b/c": "x", "4": "x", "40755 x/y": "x", "é/z": "x"})
    (yard.workspace / "a").chmod(0o1700)
    (yard.workspace / "l").symlink_to("a")
    time.sleep(0.02)
    (yard.workspace / "é/new").write_text("x")
    fresh = (yard.workspace / "é").stat().st_ctime_ns

    facts = yard.plan().facts

    whole = load_record(facts.folder.record)
    found = scan(yard.workspace, MatchNothing())
    later = replace(found.start, moment=replace(found.start.moment, wall_ns=fresh + 2_000_000_000))
    known = {path: seen.ctime_ns for path, seen in whole.folders.items()}
    assert replace(found, start=later).watched == {**known, "é": AGAIN}
    assert facts.folders == dict.fromkeys(known, AGAIN)
    assert set(facts.folders) == {"", "a", "a/b", "40755 x", "é"}
    assert facts.entries == len(whole) - 1
