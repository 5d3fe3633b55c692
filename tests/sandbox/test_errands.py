"""The names of what is made on the way, and who is taken for dead."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sandbox.errands import Errand, Errands
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from pathlib import Path

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
