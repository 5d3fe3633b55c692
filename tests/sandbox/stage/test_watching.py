from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from sandbox.stage.base import load_record
from sandbox.stage.newcomers import NewcomerWatch
from sandbox.stage.quota import StageLimits, UpperUse, UpperWatch, judge

if TYPE_CHECKING:
    from conftest import Yard

MIB = 1 << 20
LIMITS = StageLimits(written_bytes=MIB, written_files=10, reserve_bytes=0, reserve_inodes=0)
USE = UpperUse(written_bytes=0, written_files=0, free_bytes=5, free_inodes=5, seconds=0.0)


def watch(yard: Yard, *hide: str) -> NewcomerWatch:
    plan = yard.plan(*hide)
    record = load_record(plan.facts.folder.record)
    return NewcomerWatch.start(
        yard.workspace, hide=yard.patterns(*hide), absent=plan.facts.absent, record=record
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


def test_a_rename_over_a_folders_old_mtime_is_still_seen(yard: Yard) -> None:
    """Two changes within one tick share an mtime; a fresh folder is listed again."""
    newcomers = watch(yard, ".env")
    yard.fill({"fine": "1"})
    newcomers.look()
    stamp = yard.workspace.stat().st_mtime_ns
    yard.fill({".env": "secret"})
    os.utime(yard.workspace, ns=(stamp, stamp))

    assert newcomers.look() == (".env",)


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
