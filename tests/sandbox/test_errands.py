"""The names of what is made on the way, and who is taken for dead."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from audit.lock import is_held
from sandbox.errands import Errand, Errands
from sandbox.errors import SandboxError

LABEL, OTHER = "a" * 16, "b" * 16


def test_an_errand_is_dead_from_its_end_on_and_not_before(tmp_path: Path) -> None:
    errands = Errands(tmp_path, LABEL)

    with errands.begun() as errand:
        living = (errands.dead(errand.container), errands.dead(errand.image))
    ended = (errands.dead(f"/{errand.container}"), errands.dead(errand.image))

    assert (living, ended) == ((False, False), (True, True))
    assert list((tmp_path / "errands").iterdir()) == []


def test_the_lock_of_a_killed_process_is_forgotten_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    errands = Errands(tmp_path, LABEL)
    code = (
        "import sys, os, signal, pathlib; from sandbox.errands import Errands\n"
        f"with Errands(pathlib.Path(sys.argv[1]), '{LABEL}').begun() as errand:\n"
        "    print(errand.token, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    killed = Errand(LABEL, done.stdout.strip())

    with errands.begun() as living:
        found = errands.dead(killed.container)
        errands.forget()
        left = [path.name for path in (tmp_path / "errands").iterdir()]

    assert (done.stderr, found, left) == ("", True, [living.token])


def test_a_lock_is_held_while_it_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its maker, who may be between making and locking it, waits, finds it gone, and makes another."""
    errands = Errands(tmp_path, LABEL)
    (tmp_path / "errands").mkdir()
    lock = tmp_path / "errands" / ("0" * 16)
    lock.touch()
    removed = Path.unlink
    held: list[bool] = []

    def looked_at(path: Path, **how: bool) -> None:
        held.append(is_held(path))
        removed(path, **how)

    monkeypatch.setattr(Path, "unlink", looked_at)
    errands.forget()

    assert (held, lock.exists()) == ([True], False)


def test_what_is_no_lock_is_left_where_it_is(tmp_path: Path) -> None:
    errands = Errands(tmp_path, LABEL)
    folder = tmp_path / "errands"
    (folder / "folder").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    (folder / "lock").touch()

    errands.forget()

    assert sorted(path.name for path in folder.iterdir()) == ["folder", "link"]


def test_a_lock_that_the_disk_cannot_hold_is_one_clear_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system may refuse locks; neither the file nor its descriptor stays."""

    def refused(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(fcntl, "flock", refused)

    with pytest.raises(SandboxError) as caught, Errands(tmp_path, LABEL).begun():
        pass

    assert caught.value.message == f"`{tmp_path}/errands` cannot be written: no locks available"
    assert list((tmp_path / "errands").iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_errand_whose_lock_cannot_be_removed_has_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was made is not lost for it: the lock is free, and is forgotten later."""
    errands = Errands(tmp_path, LABEL)

    def read_only(_path: Path, **_how: bool) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", read_only)
        with errands.begun() as errand:
            pass
    dead = errands.dead(errand.container)
    errands.forget()

    assert dead
    assert list((tmp_path / "errands").iterdir()) == []


def test_a_battery_lives_as_long_as_its_errand(tmp_path: Path) -> None:
    """`clean` beside a running `doctor --probe` leaves its containers alone; what one killed left goes."""
    errands = Errands(tmp_path, LABEL)

    with errands.begun() as errand:
        living = errands.probing(errand.battery(3))
        others = [
            errands.probing(name) for name in ("probe-", f"probe-{'0' * 16}-1", f"probe-{errand.token}-1x")
        ]

    assert (living, others, errands.probing(errand.battery(3))) == (True, [False] * 3, False)


@pytest.mark.parametrize(
    "name",
    [
        Errand(OTHER, "0" * 16).container,
        f"x{Errand(LABEL, '0' * 16).container}",
        f"{Errand(LABEL, '0' * 16).container}x",
        f"pairlock-errand-{LABEL}-../../../../etc",
        f"pairlock/other:{LABEL}-{'0' * 16}",
        "",
    ],
    ids=["another state", "before", "after", "no token", "another image", "empty"],
)
def test_what_somebody_else_made_is_never_taken_for_a_dead_errand(tmp_path: Path, name: str) -> None:
    """B45, B48: names on an engine may be anybody's; none leads to a path, and only whole ones count."""
    assert not Errands(tmp_path, LABEL).dead(name)
    assert Errands(tmp_path, LABEL).dead(Errand(LABEL, "0" * 16).container)


def test_whoever_has_no_state_folder_takes_nothing_for_dead() -> None:
    errands = Errands()

    with errands.begun() as errand:
        pass

    assert not errands.dead(errand.container)


def test_a_state_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "errands").write_text("a file")

    with pytest.raises(SandboxError) as caught, Errands(tmp_path, LABEL).begun():
        pass

    assert caught.value.message == f"`{tmp_path}/errands` cannot be written: file exists"
