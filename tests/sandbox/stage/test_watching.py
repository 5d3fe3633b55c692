from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from sandbox.stage import listing
from sandbox.stage.newcomers import NewcomerWatch
from sandbox.stage.quota import StageLimits, UpperUse, UpperWatch, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Yard

MIB = 1 << 20
LIMITS = StageLimits(written_bytes=MIB, written_files=10, reserve_bytes=0, reserve_inodes=0)
USE = UpperUse(written_bytes=0, written_files=0, free_bytes=5, free_inodes=5, seconds=0.0)


def watch(yard: Yard, *hide: str) -> NewcomerWatch:
    plan = yard.plan(*hide)
    return NewcomerWatch.start(
        yard.workspace, hide=yard.patterns(*hide), absent=plan.facts.absent, folders=plan.facts.folders
    )


def test_a_hidden_file_that_appears_is_told_once(yard: Yard) -> None:
    """B116: the whiteouts cover only what was there at the start."""
    yard.fill({"src/a": "1", ".env": "old"})
    newcomers = watch(yard, ".env")
    assert newcomers.look() == ()

    yard.fill({"src/.env": "secret", "src/fine": "2"})

    assert newcomers.look() == ("src/.env",)
    assert newcomers.look() == ()
    assert newcomers.pause_seconds >= 20 * newcomers.last_seconds > 0


def test_what_appears_in_a_new_folder_is_told(yard: Yard) -> None:
    newcomers = watch(yard, ".env")
    yard.fill({"a/b/c/fine": "1"})
    assert newcomers.look() == ()

    yard.fill({"a/b/c/.env": "secret"})

    assert newcomers.look() == ("a/b/c/.env",)


def test_a_new_folder_that_cannot_be_looked_into_is_told(yard: Yard) -> None:
    """Names without what they are: nobody knows what of it must be hidden."""
    yard.fill({"a": "1"})

    def act() -> str:
        newcomers = NewcomerWatch.start(
            yard.workspace, hide=yard.patterns(".env"), absent=(), folders={"": 0}
        )
        return str(newcomers.look())

    yard.fill({"blind/a": "1", "seen/a": "1"})
    (yard.workspace / "blind").chmod(0o604)

    assert yard.as_user(65534, act) == "('blind',)"


def test_a_socket_that_appears_is_told(yard: Yard) -> None:
    newcomers = watch(yard)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(yard.workspace / "s"))

    assert newcomers.look() == ("s",)


def test_what_appears_between_the_scan_and_the_first_look_is_told(yard: Yard) -> None:
    newcomers = watch(yard, ".env")
    yard.fill({".env": "secret"})

    assert newcomers.look() == (".env",)


def test_a_file_that_was_hidden_at_the_start_may_be_rewritten(yard: Yard) -> None:
    """Its whiteout covers whatever is there by that name, and whatever is in a hidden folder."""
    yard.fill({".env": "old", "vault/key": "old"})
    newcomers = watch(yard, ".env", "vault", "key*")

    (yard.workspace / ".env").unlink()
    yard.fill({".env": "new", "vault/key2": "new"})

    assert newcomers.look() == ()


def test_what_appears_in_the_tick_of_a_folders_last_change_before_the_scan_is_told(yard: Yard) -> None:
    """The user's program writes one file after the other while a session starts, and they share one mtime."""
    yard.fill({"d/a": "1"})
    newcomers = watch(yard, ".env")
    stamp = (yard.workspace / "d").stat().st_mtime_ns
    yard.fill({"d/.env": "secret"})
    os.utime(yard.workspace / "d", ns=(stamp, stamp))

    assert newcomers.look() == ("d/.env",)
    assert newcomers.look() == ()


def test_a_rename_over_a_folders_old_mtime_is_still_seen(yard: Yard) -> None:
    """Two changes within one tick share an mtime; a fresh folder is listed again."""
    newcomers = watch(yard, ".env")
    yard.fill({"fine": "1"})
    newcomers.look()
    stamp = yard.workspace.stat().st_mtime_ns
    yard.fill({".env": "secret"})
    os.utime(yard.workspace, ns=(stamp, stamp))

    assert newcomers.look() == (".env",)


@pytest.mark.parametrize("folder", ["", "d"])
def test_a_folder_whose_mtime_is_set_back_is_still_listed(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """`rsync -a`, `tar` and `cp -a` put a file in and the folder's mtime back: its ctime tells."""
    monkeypatch.setattr(listing, "_SETTLED_NS", 0)
    yard.fill({"d/a": "1"})
    there = yard.workspace / folder
    newcomers = watch(yard, ".env")
    assert newcomers.look() == ()
    before = there.stat().st_mtime_ns
    yard.fill({f"{folder}/.env".lstrip("/"): "secret"})
    os.utime(there, ns=(before, before))

    assert newcomers.look() == (f"{folder}/.env".lstrip("/"),)


def test_a_folder_that_was_just_changed_is_listed_again() -> None:
    """Two changes within one tick of the clock share one ctime."""
    assert listing.settled(10**9, now_ns=3 * 10**9) == listing.AGAIN
    assert listing.settled(10**9, now_ns=3 * 10**9 + 1) == 10**9


@pytest.mark.parametrize(
    ("use", "limit"),
    [
        ({"written_bytes": MIB + 1}, "written_bytes"),
        ({"written_files": 11}, "written_files"),
        ({"free_bytes": 4}, "reserve_bytes"),
        ({"free_inodes": 4}, "reserve_inodes"),
    ],
)
def test_each_limit_is_judged_alone(use: dict[str, int], limit: str) -> None:
    fields = {name: getattr(USE, name) for name in USE.__slots__}
    limits = StageLimits(written_bytes=MIB, written_files=10, reserve_bytes=5, reserve_inodes=5)

    assert judge(USE, limits) == ()
    assert [item.limit for item in judge(UpperUse(**{**fields, **use}), limits)] == [limit]


def test_an_unknown_number_of_free_inodes_is_no_breach() -> None:
    """Filesystems such as btrfs do not count them."""
    fields = {name: getattr(USE, name) for name in USE.__slots__}

    assert judge(UpperUse(**{**fields, "free_inodes": -1}), LIMITS) == ()


def test_what_an_agent_writes_is_measured_as_the_disk_counts_it(yard: Yard) -> None:
    """B119: bytes, paths and deletions; a hard link costs nothing more."""
    yard.fill({"gone": "1"})
    plan = yard.plan()
    with yard.mounted(plan) as inside:
        (inside / "big").write_bytes(os.urandom(600_000))
        os.link(inside / "big", inside / "link")
        (inside / "gone").unlink()
        os.sync()
        watch = UpperWatch(plan.facts.folder.upper, LIMITS)

        use = watch.look()

        assert use.written_files == 3
        assert 600_000 <= use.written_bytes < 700_000
        assert watch.exceeded() == ()
        (inside / "more").write_bytes(os.urandom(600_000))
        os.sync()
        (breach,) = watch.exceeded()
    assert (breach.limit, breach.allowed) == ("written_bytes", MIB)


def test_a_sparse_file_counts_with_its_length(yard: Yard) -> None:
    """It takes no room in the stage, and all of it once it is read or applied."""
    plan = yard.plan()
    with yard.mounted(plan) as inside:
        with (inside / "sparse").open("wb") as stream:
            stream.truncate(1 << 40)

        (breach,) = UpperWatch(plan.facts.folder.upper, LIMITS).exceeded()

    assert (breach.limit, breach.found) == ("written_bytes", 1 << 40)


def test_a_flood_of_files_is_seen_without_walking_all_of_it(yard: Yard) -> None:
    plan = yard.plan()
    for folder in range(40):
        yard.fill({f"d{folder}/f{n}": "" for n in range(20)}, below=plan.facts.folder.upper)

    watch = UpperWatch(plan.facts.folder.upper, LIMITS)

    (breach,) = watch.exceeded()
    assert breach.limit == "written_files"
    assert breach.found == 11


@pytest.fixture
def ordinary_upper() -> Iterator[Path]:
    """Yield an upper folder while this process is an ordinary user, as runner and agent mostly are."""
    path = Path(tempfile.mkdtemp(prefix="pairlock-upper-"))
    was, ordinary = os.geteuid(), os.geteuid() or 23456
    os.chown(path, ordinary, -1)
    os.seteuid(ordinary)  # root lists every folder
    try:
        yield path
    finally:
        os.seteuid(was)
        for folder in (path, *path.rglob("*")):
            if folder.is_dir():
                folder.chmod(0o700)
        shutil.rmtree(path)


@pytest.mark.parametrize("mode", [0o000, 0o100, 0o300, 0o400, 0o600])
def test_a_folder_that_the_host_cannot_list_passes_the_limit(ordinary_upper: Path, mode: int) -> None:
    """The agent's uid is the runner's: mode 0300 lets it make files that the host would not count."""
    folder = ordinary_upper / "a" / "blind"
    folder.mkdir(parents=True)
    (folder / "big").write_bytes(bytes(100))
    watch = UpperWatch(ordinary_upper, LIMITS)
    listed = watch.look()

    folder.chmod(mode)

    (breach,) = watch.exceeded()
    assert (listed.written_files, listed.unlisted_folders) == (3, 0)
    assert (breach.limit, breach.allowed, breach.found) == ("unlisted_folders", 0, 1)
    assert "cannot list" in breach.message


def test_an_upper_folder_that_the_host_cannot_list_passes_the_limit(ordinary_upper: Path) -> None:
    """`chmod 300 .` in the workspace sets the mode of the layer's own top."""
    ordinary_upper.chmod(0o300)

    (breach,) = UpperWatch(ordinary_upper, LIMITS).exceeded()

    assert breach.limit == "unlisted_folders"


def test_files_too_deep_to_be_counted_pass_the_limit(tmp_path: Path) -> None:
    """What lies deeper than this module opens is not counted, so it must not be there."""
    deep = Path("d/" * 260)
    limits = StageLimits(written_bytes=1 << 30, written_files=1000, reserve_bytes=0, reserve_inodes=0)
    (tmp_path / "upper" / "d" / "d").mkdir(parents=True)
    shallow = UpperWatch(tmp_path / "upper", limits).exceeded()
    (tmp_path / "upper" / deep).mkdir(parents=True)

    (breach,) = UpperWatch(tmp_path / "upper", limits).exceeded()

    assert shallow == ()
    assert breach.limit == "unlisted_folders"


def test_a_folder_that_vanishes_while_it_is_looked_at_is_no_breach(
    ordinary_upper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The positive twin: programs make and remove folders all the time."""
    (ordinary_upper / "gone").mkdir()
    (ordinary_upper / "moved").mkdir()
    listed = os.scandir

    def scandir(folder: int) -> object:
        found = listed(folder)
        if (ordinary_upper / "gone").exists():
            names = list(found)
            for entry in names:
                entry.stat(follow_symlinks=False)
            (ordinary_upper / "gone").rmdir()
            (ordinary_upper / "moved").rename(ordinary_upper / "elsewhere")
            (ordinary_upper / "moved").symlink_to("elsewhere")
            return _Listed(names)
        return found

    monkeypatch.setattr(os, "scandir", scandir)

    assert UpperWatch(ordinary_upper, LIMITS).look().unlisted_folders == 0


class _Listed(list[os.DirEntry[str]]):
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass
