"""Killed between any two calls that change a file, or with a disk that fails there, a session ends the same.

The matrix kills at entries; these are the places between them: a line without its sync, a note not in
place, a folder without its ledger.
"""

from __future__ import annotations

import asyncio
import errno
import multiprocessing
import os
import random
import signal
import stat
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from agent_runner.errors import InvalidInputError, RunnerError
from audit.errors import AuditError, UnknownSessionError
from audit.index import read_index
from audit.state import StateFiles
from tests.agent_runner.kills import LONG_SECONDS, SCENARIOS
from tests.agent_runner.stand import SESSION, Stand
from tests.agent_runner.test_kill_matrix import Whole, ended_whole, gone_on
from tests.agent_runner.test_resume_boundaries import tree
from tests.sandbox.guest.launch import reachable_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.long
POINTS: Final = int(os.environ.get("PAIRLOCK_KILLS", "12"))
"""Of each scenario; the seed and how many calls there are is printed."""
SEED: Final = int(os.environ.get("PAIRLOCK_SEED") or random.SystemRandom().randrange(1 << 32))
_FORKS: Final = multiprocessing.get_context("forkserver")
_CALLS: Final = (
    "write", "pwrite", "fdatasync", "fsync", "ftruncate", "posix_fallocate", "open", "link", "symlink",
    "mkdir", "rename", "replace", "rmdir", "unlink", "chmod", "fchmod", "close",
)  # fmt: skip
_TAKE_ROOM: Final = {"write", "pwrite", "posix_fallocate", "open", "link", "symlink", "mkdir", "rename"}
_MAKES: Final = os.O_CREAT | os.O_TRUNC


def counted(number: int, place: Path, act: Callable[[str, Any], None]) -> None:
    """Let something happen before the call of that number and all after it; each one is noted in a file."""
    notes = os.open(place / "calls", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    write, count = os.write, 0

    def standing_for(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any, **more: Any) -> Any:
            nonlocal count
            if name != "open" or (len(arguments) > 1 and arguments[1] & _MAKES):
                count += 1
                write(notes, b".")
                if 0 < number <= count:
                    act(name, arguments[0])
            return call(*arguments, **more)

        return made

    for name in _CALLS:
        setattr(os, name, standing_for(name, getattr(os, name)))


def die(_call: str, _about: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def find_no_room(call: str, about: object) -> None:
    """Fail as a full disk does; what goes to a pipe, or gives room back, does not."""
    if call in _TAKE_ROOM and (not isinstance(about, int) or stat.S_ISREG(os.fstat(about).st_mode)):
        raise OSError(errno.ENOSPC, "No space left on device", "a disk of the test's")


def find_it_broken(call: str, about: object) -> None:
    """Fail as a disk does that loses what it was given."""
    if call in ("fdatasync", "fsync"):
        raise OSError(errno.EIO, "Input/output error", about)


_ACTS: Final = {"dies": die, "has no room": find_no_room, "is broken": find_it_broken}


def work(name: str, place: str, number: int, how: str, act: str) -> None:
    counted(number, Path(place), _ACTS[act])
    stand, scenario = Stand(Path(place)), SCENARIOS[name]
    with suppress(AuditError, RunnerError, OSError):  # it was over, never began, or could not be written down
        asyncio.run(scenario.run(stand) if how == "run" else scenario.resume(stand))


def worked(name: str, place: Path, number: int, *, how: str = "run", act: str = "dies") -> int:
    """Run a scenario, or go on with it, up to a call; return how many calls it made."""
    (place / "calls").unlink(missing_ok=True)
    process = _FORKS.Process(target=work, args=(name, str(place), number, how, act))
    process.start()
    process.join(LONG_SECONDS)
    if hangs := process.is_alive():
        process.kill()
        process.join()
    assert not hangs
    assert process.exitcode in ({0, -signal.SIGKILL} if act == "dies" else {0})
    return (place / "calls").stat().st_size


async def ended(name: str, stand: Stand, whole: Whole) -> None:
    """Go on with a killed session, and see that it ends as one never killed, or never began at all."""
    events = stand.state / "sessions" / SESSION / "events.jsonl"
    if events.exists() and b'"session.opened"' in events.read_bytes():
        closed = stand.entries("session.closed")
        if closed and closed[-1]["status"] != "done":  # in order, though it could not go on
            await SCENARIOS[name].resume(stand)
        assert await gone_on(name, stand) == whole
        return
    with pytest.raises(
        (UnknownSessionError, InvalidInputError), match=r"has no ledger|ended before it began"
    ):
        await SCENARIOS[name].resume(stand)
    assert tree(stand.folder).keys() == {"old", "long"}
    assert read_index(StateFiles(stand.state)).broken is None


def places(name: str, what: str) -> Iterator[tuple[random.Random, int]]:
    """Yield a call for each point, in an order that the seed gives."""
    chance = random.Random(f"{SEED} {name} {what}")  # noqa: S311 - places, no secrets
    with reachable_folder() as place:
        SCENARIOS[name].prepare(Stand(place).folder)
        calls = worked(name, place, 0)
    assert calls > 100
    sys.stdout.write(f"{name}: seed {SEED}, {POINTS} of {calls} calls\n")
    for _ in range(POINTS):
        yield chance, chance.randrange(1, calls)


@contextmanager
def prepared(name: str, told: str) -> Iterator[Stand]:
    """Give a scenario a place of its own; what fails there is told with its point."""
    with reachable_folder() as place:
        stand = Stand(place)
        SCENARIOS[name].prepare(stand.folder)
        try:
            yield stand
        except BaseException as error:
            error.add_note(f"seed {SEED}, {told}")
            raise


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_between_any_two_calls_a_session_ends_as_one_never_killed(name: str) -> None:
    """Half of them are killed a second time while they go on."""
    whole, _ = ended_whole(name)
    for chance, first in places(name, "dies"):
        second = chance.choice((0, chance.randrange(1, 150)))
        with prepared(name, f"killed before call {first}, and going on before {second}") as stand:
            worked(name, stand.place, first)
            if second:
                worked(name, stand.place, second, how="resume")
            asyncio.run(ended(name, stand, whole))


@pytest.mark.parametrize("act", ["has no room", "is broken"])
@pytest.mark.parametrize("name", ["asks", "delegates"])
def test_a_disk_that_fails_from_any_call_on_ends_the_session_in_order_and_it_goes_on(
    name: str, act: str
) -> None:
    """Nothing is done that is not written down; once the disk is well, it ends as one that never failed."""
    whole, _ = ended_whole(name)
    for _, first in places(name, act):
        with prepared(name, f"{act} from call {first} on") as stand:
            worked(name, stand.place, first, act=act)
            asyncio.run(ended(name, stand, whole))
