"""A program in the background whose runner was killed has its end in the ledger once the session goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.fold import read_past
from audit.verify import verify_session
from tests.agent_runner.stand import FINISH, SESSION, saying

if TYPE_CHECKING:
    from tests.agent_runner.stand import Stand

CHECKOUT = Path(__file__).resolve().parents[2]
POLICY = """version: 1
name: x
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", run, "run *"]}
"""
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.agent_runner.stand import Model, Stand, lines

SAID = lines(
    "run --background true", "run status 1 --wait 60",
    "run --background no-such-program", "run status 2 --wait 60", "run --background sleep 300", "run true",
)

def answer(messages, turn):
    if turn > 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return SAID

asyncio.run(Stand(Path(sys.argv[1])).run(Model(answer), sys.argv[2]))
"""


def ends(stand: Stand) -> list[tuple[str, str]]:
    return [(end["action"], end["outcome"]) for end in stand.entries("process.ended")]


def run_until_it_is_killed(stand: Stand) -> None:
    command = [sys.executable, "-c", KILLED, str(stand.place), POLICY]
    killed = subprocess.run(command, cwd=CHECKOUT, check=False, capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()


async def test_the_end_of_a_program_that_was_lost_with_its_runner_is_written_down_once(stand: Stand) -> None:
    """The ledger of a killed runner has none; those that ended or never ran keep the one that they had."""
    run_until_it_is_killed(stand)
    before, past = ends(stand), read_past(stand.state, SESSION)

    await stand.resume(saying())
    result = await stand.resume(saying(FINISH))

    assert before == [(f"{SESSION}/1", "ok"), (f"{SESSION}/3", "failed")]
    assert past.background == (f"{SESSION}/5",)
    assert result.status == "done"
    assert ends(stand) == [*before, (f"{SESSION}/5", "sandbox_failed")]
    assert stand.entries("process.ended")[-1]["detail"] == (
        "the runner was stopped before the end was recorded, and the program ended with it"
    )
    assert read_past(stand.state, SESSION).background == ()
    assert verify_session(stand.state, SESSION).faults() == {}
