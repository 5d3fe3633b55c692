"""What the workspace held is told by its files later; what they cannot tell is a conflict, never a guess."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_runner.watch import watch_of
from policies.files_block import FilesBlock
from sandbox.stage import kernel
from sandbox.stage.base import Seen
from sandbox.stage.changes import compute_changes
from sandbox.stage.clockwatch import ClockWatch
from sandbox.stage.errors import StageBrokenError
from sandbox.stage.matching import Globs
from sandbox.stage.moment import Moment
from sandbox.stage.opened import open_stage
from sandbox.stage.scan import scan
from sandbox.stage.start import Start, can_tell_later, foreign, load_record, save_record
from tests.sandbox.stage.applying import apply, reasons, staged

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Yard

    from sandbox.stage import StagePlan


def moved(moment: Moment, seconds: int) -> Moment:
    """Return a moment so far ahead: seen from there, the clock was set back."""
    return replace(moment, wall_ns=moment.wall_ns + seconds * 10**9)


def test_a_scan_asks_no_file(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 files cost their names alone: one lstat is made for each folder, and none for a file."""
    yard.fill({f"d{n}/f{m}": "x" for n in range(3) for m in range(50)})
    asked: list[str] = []
    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: asked.append(path) or lstat(path))

    found = scan(yard.workspace, Globs.parse([".env"]))

    assert sorted(asked) == [f"{yard.workspace}{part}/." for part in ("", "/d0", "/d1", "/d2")]
    assert len(found.start) == 154


def test_an_older_file_that_a_user_moves_in_with_its_folder_is_a_conflict(yard: Yard) -> None:
    """Its own ctime is from before the start: that of its folder tells that it is another file."""
    yard.fill({"d/sub/a": "base", "e/sub/a": "user", "kept/a": "base"})

    def act(inside: Path) -> None:
        (inside / "d/sub/a").write_text("agent")
        (inside / "kept/a").write_text("agent")

    staged(yard, act)
    (yard.workspace / "d").rename(yard.workspace / "aside")
    (yard.workspace / "e").rename(yard.workspace / "d")

    result = apply(yard)

    assert reasons(result) == {"d/sub/a": "conflict"}
    assert (yard.workspace / "d/sub/a").read_text() == "user"
    assert (yard.workspace / "kept/a").read_text() == "agent"


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, _socket, lambda path: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))],
    ids=["pipe", "socket", "device"],
)
@pytest.mark.parametrize("deleted", [True, False], ids=["deleted", "written"])
def test_what_is_no_file_in_the_place_of_one_is_a_conflict(
    yard: Yard, make: Callable[[Path], object], *, deleted: bool
) -> None:
    """Nobody knows what the file was, nor which pipe it is: it is the user's, and stays."""
    yard.fill({"a": "base"})
    staged(yard, lambda inside: (inside / "a").unlink() if deleted else (inside / "a").write_text("agent"))
    (yard.workspace / "a").unlink()
    make(yard.workspace / "a")

    result = apply(yard)

    assert reasons(result) == {"a": "conflict"}
    assert not stat.S_ISREG((yard.workspace / "a").lstat().st_mode)


def test_a_folder_that_went_away_and_came_back_tells_what_it_told(yard: Yard) -> None:
    """The twin: the same folder under the same name again is the same files."""
    yard.fill({"d/sub/a": "base"})
    staged(yard, lambda inside: (inside / "d/sub/a").write_text("agent"))
    (yard.workspace / "d").rename(yard.workspace / "aside")
    (yard.workspace / "aside").rename(yard.workspace / "d")

    result = apply(yard)

    assert (reasons(result), (yard.workspace / "d/sub/a").read_text()) == ({}, "agent")


@pytest.mark.parametrize(
    ("ahead_seconds", "boot", "told"),
    [(0, "", {}), (3600, "", {"a": "conflict"}), (0, "another", {}), (3600, "another", {"a": "conflict"})],
    ids=["steady", "set back", "another boot", "another boot, in the past"],
)
def test_a_clock_that_was_set_back_makes_conflicts_and_no_loss(
    yard: Yard, ahead_seconds: int, boot: str, told: dict[str, str]
) -> None:
    """Stamps made after the start could be earlier than it: nothing that they say counts then."""
    yard.fill({"a": "base"})
    staged(yard, lambda inside: (inside / "a").write_text("agent"))
    record = yard.session / "stage" / "record"
    start = load_record(record)
    moment = replace(
        start.moment,
        wall_ns=start.moment.wall_ns + ahead_seconds * 10**9,
        boot=boot or start.moment.boot,
    )
    save_record(record, replace(start, moment=moment))

    assert reasons(apply(yard)) == told


def test_a_clock_that_was_seen_set_back_stays_that_when_it_is_right_again(yard: Yard) -> None:
    """An edit may be stamped before the start by then, and must not pass for the base."""
    yard.fill({"a": "base", "learnt": "base"})
    plan = yard.plan()
    steady = ClockWatch(plan.facts.moment, plan.facts.folder.set_back)
    with yard.mounted(plan) as inside:
        yard.fill({"learnt": "agent"}, below=inside)
        with open_stage(yard.session) as stage:
            compute_changes(stage)
        yard.fill({"a": "agent"}, below=inside)
    steady.look()
    assert not plan.facts.folder.set_back.exists()
    with open_stage(yard.session) as stage:
        assert stage.record.asks

    back = ClockWatch(moved(plan.facts.moment, 3600), plan.facts.folder.set_back)
    back.look()
    back.moment = plan.facts.moment
    back.look()

    assert reasons(apply(yard)) == {"a": "conflict"}
    assert (yard.workspace / "learnt").read_text() == "agent"


def test_the_watch_over_a_session_sees_the_clock_set_back(yard: Yard) -> None:
    """The runner's own look, which writes it down for whoever reviews."""
    plan = yard.plan()
    ahead = replace(plan, facts=replace(plan.facts, moment=moved(plan.facts.moment, 3600)))

    async def watched_for_a_while(watched: StagePlan) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(watch_of(watched, FilesBlock()).until_passed(), 0.3)
        return plan.facts.folder.set_back.exists()

    assert not asyncio.run(watched_for_a_while(plan))
    assert asyncio.run(watched_for_a_while(ahead))


@pytest.mark.parametrize(
    ("days", "seconds_back", "holds"), [(0, 0.9, True), (0, 1.1, False), (30, 1.1, False)]
)
def test_a_clock_is_set_back_by_more_than_a_second_however_long_ago_the_start_is(
    days: int, seconds_back: float, *, holds: bool
) -> None:
    """Slewing changes the time since boot alike, so it needs no room that grows."""
    now = Moment.now()
    ago = int(days * 86_400e9)
    moment = replace(
        now, wall_ns=now.wall_ns - ago + int(seconds_back * 1e9), since_boot_ns=now.since_boot_ns - ago
    )

    assert moment.holds() is holds


def test_what_a_file_told_once_holds_when_the_user_touches_it_later(yard: Yard) -> None:
    """A conflict is one of content: what a look has learnt is kept, mode and all."""
    yard.fill({"a": "base"})
    (yard.workspace / "a").chmod(0o640)
    staged(yard, lambda inside: (inside / "a").write_text("agent"))
    with open_stage(yard.session) as stage:
        compute_changes(stage)
    os.utime(yard.workspace / "a")
    with open_stage(yard.session) as stage:
        (change,) = compute_changes(stage).changes

    assert (change.conflict, change.before and change.before.mode) == ("", 0o640)


def test_a_folder_replaced_by_a_symlink_is_applied_and_leaves_nothing_unfinished(yard: Yard) -> None:
    """What lay below the folder is gone with it; looking for it there found a symlink, after the apply."""
    yard.fill({"a/b": "base", "c": "kept"})

    def act(inside: Path) -> None:
        (inside / "a/b").unlink()
        (inside / "a").rmdir()
        (inside / "a").symlink_to("c")

    staged(yard, act)

    result = apply(yard)

    assert (result.complete, (yard.workspace / "a").readlink().name) == (True, "c")
    with open_stage(yard.session) as stage:
        assert compute_changes(stage).changes == ()
    assert not (yard.session / "stage" / "apply.json").exists()


def test_a_filesystem_that_stamps_by_another_clock_is_asked_of_every_file(yard: Yard) -> None:
    """Procfs stands for all that may not stamp every change; whole seconds are too coarse anywhere."""
    folder = Seen.of(yard.workspace.stat())
    whole = folder._replace(ctime_ns=folder.ctime_ns // 10**9 * 10**9)

    assert can_tell_later(yard.workspace, {"": folder})
    assert not can_tell_later(yard.workspace, {"": whole})
    assert not can_tell_later(Path("/proc/self"), {"": folder})


@pytest.mark.parametrize(
    ("magic", "inode", "tells"),
    [(0x9123683E, 256, False), (0x9123683E, 257, True), (0xEF53, 256, True)],
    ids=["subvolume", "folder", "another filesystem"],
)
def test_a_subvolume_is_asked_of_every_file(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, magic: int, inode: int, *, tells: bool
) -> None:
    """A snapshot put in its place has its inodes: the folders above a file would not tell."""
    folder = Seen.of(yard.workspace.stat())
    monkeypatch.setattr(kernel, "filesystem_magic", lambda _: magic)

    assert can_tell_later(yard.workspace, {"": folder, "d": folder._replace(inode=inode)}) is tells


def test_a_file_that_vanished_since_it_was_listed_is_no_reason_for_a_copy(yard: Yard) -> None:
    """One of another uid is, and so is one that cannot be asked."""
    yard.fill({"a": "1", "gone": "1", "d/gone": "1"})
    start = scan(yard.workspace, Globs.parse([])).start
    (yard.workspace / "gone").unlink()
    (yard.workspace / "d/gone").unlink()
    (yard.workspace / "d").rmdir()
    (yard.workspace / "d").touch()

    vanished = foreign(yard.workspace, start, os.geteuid())
    (yard.workspace / "a").unlink()
    (yard.workspace / "a").symlink_to("a")
    os.chown(yard.workspace / "a", 65534, -1, follow_symlinks=False)

    assert (vanished, foreign(yard.workspace, start, os.geteuid())) == (False, True)


def test_a_record_keeps_names_byte_for_byte_and_a_damaged_one_is_told(yard: Yard) -> None:
    names = frozenset({"a b", "odd\nname", "\udcff", "é" * 100})
    seen = Seen.of(yard.workspace.stat())
    start = Start(
        moment=Moment.now(), folders={"": seen, "d e": seen}, names={"": names, "d e": frozenset()}, known={}
    )
    target = yard.session / "record"

    save_record(target, start)

    assert load_record(target) == start
    target.write_bytes(target.read_bytes()[:-4])
    with pytest.raises(StageBrokenError, match="cannot be read"):
        load_record(target)


def test_a_moment_is_after_all_that_was_stamped_before_and_before_all_that_comes(yard: Yard) -> None:
    """Also where the kernel stamps finer what somebody has looked at."""
    for _ in range(50):
        for _ in range(3):
            yard.fill({"before": "x"})
            (yard.workspace / "before").stat()
        yard.fill({"before": "x"})
        moment = Moment.now()
        yard.fill({"after": "x"})

        stamps = [(yard.workspace / name).stat().st_ctime_ns for name in ("before", "after")]
        assert stamps[0] < moment.wall_ns <= stamps[1]
        assert moment.holds()
