"""`ps` tells what runs, what can go on and with which words, and what waits for a review."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_runner.account import account_lines
from agent_runner.backends.backend import Reply
from agent_runner.cli.sessions import shortened
from agent_runner.errors import InvalidInputError, RunnerError
from agent_runner.fold import read_past
from agent_runner.listing import listed
from agent_runner.meta import read_meta
from audit.host import HostLog
from audit.journal import Journal, Registration
from audit.stage_event import StageDiscarded
from audit.state import StateFiles, write_private
from tests.agent_runner.stand import FINISH, SESSION, lines, saying

if TYPE_CHECKING:
    from tests.agent_runner.stand import Stand

ROOT = Path(__file__).resolve().parents[2]
ONE_TURN = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\nbudget: {turns: 1}\n'


def ps(stand: Stand, *options: str) -> subprocess.CompletedProcess[str]:
    """List the sessions, in a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "agent_runner", "ps", *options],
        cwd=ROOT,
        env={**os.environ, "PAIRLOCK_STATE": str(stand.state)},
        capture_output=True,
        text=True,
        check=True,
    )


def change_meta(stand: Stand, **changed: object) -> None:
    """Write other facts beside the session's ledger."""
    folder = StateFiles(stand.state).session(SESSION).folder
    meta = read_meta(folder).model_copy(update=changed)
    write_private(folder / "meta.json", meta.model_dump_json().encode())


async def test_a_session_that_can_go_on_is_listed_with_the_command_that_goes_on(stand: Stand) -> None:
    """It has no changes; its line says when it began and where. One that is done is listed with `--all`."""
    await stand.run(saying(lines("files list"), FINISH), ONE_TURN)

    told = ps(stand).stdout.split("  ")
    row = json.loads(ps(stand, "--json").stdout)

    (kept,) = listed(stand.state)
    assert told[0] == SESSION
    assert told[1] == kept.started[:16].replace("T", " ")
    assert told[2] == "budget"
    assert str(stand.folder) in told
    assert told[-1] == f"`pairlock resume {SESSION} --add-budget WHAT --model NAME`\n"
    assert row == {**kept.as_json(), "changes": 0, "outputs_kept": False}
    assert (row["status"], row["resume"]) == ("budget", told[-1].strip("`\n"))


async def test_what_is_done_is_listed_with_all_alone(stand: Stand) -> None:
    await stand.run(saying(lines("files list"), FINISH))

    none, every = ps(stand), ps(stand, "--all", "--json")

    assert (none.stdout, ps(stand, "--json").stdout) == ("", "")
    assert none.stderr == "no session is running, and none waits for a review or can go on\n"
    assert (json.loads(every.stdout)["status"], json.loads(every.stdout)["resume"]) == ("done", "")


async def test_what_stopped_without_an_end_is_listed_as_it_goes_on(stand: Stand) -> None:
    """The model said nothing more, without `finish`; `resume` takes it, and then it is done."""
    first = await stand.run(saying(lines("files list"), Reply(text="that is it", calls=())))
    (stopped,) = listed(stand.state)
    again = await stand.resume(saying(FINISH))

    assert (first.status, first.unfinished) == ("done", True)
    assert (stopped.status, stopped.resume) == ("done", f"pairlock resume {SESSION} --model NAME")
    assert (again.unfinished, [row.resume for row in listed(stand.state)]) == (False, [""])


async def test_what_this_machine_failed_is_listed_as_it_goes_on(stand: Stand) -> None:
    """And is told so at its end; a model that says itself that it failed is over, for `resume` too."""
    stand.housing.error = RunnerError("a fault of this machine")
    broke = await stand.run(saying(FINISH))
    told, (failed,) = account_lines(broke), listed(stand.state)
    stand.housing.error = None
    again = await stand.resume(saying(lines("finish --status failed no")))

    assert (broke.status, failed.status, again.status) == ("failed", "failed", "failed")
    assert failed.resume == f"pairlock resume {SESSION} --model NAME"
    assert f"resume   `pairlock resume {SESSION}` goes on" in told
    assert [row.resume for row in listed(stand.state)] == [""]
    with pytest.raises(InvalidInputError, match="is over: it ended as `failed`"):
        await stand.resume(saying(FINISH))


async def test_what_ended_before_it_began_names_no_command(stand: Stand) -> None:
    """Killed as its ledger was made: nothing says what it was to do, and `resume` takes none such."""
    await stand.run(saying(lines("files list")), ONE_TURN)
    other = "ba9876543210"
    registration = Registration(grant="files", workspace=None, owner_uid=os.getuid())
    journal = Journal.create(
        stand.state, other, registration=registration, secrets_by_name={}, writer="test", programs=False
    )
    async with journal:
        pass
    meta = read_meta(StateFiles(stand.state).session(SESSION).folder)
    facts = meta.model_copy(update={"session": other}).model_dump_json()
    write_private(StateFiles(stand.state).session(other).folder / "meta.json", facts.encode())

    rows = {row.session: row for row in listed(stand.state)}

    assert (rows[other].status, rows[other].resume) == ("interrupted", "")
    assert rows[SESSION].resume != ""
    with pytest.raises(InvalidInputError, match="ended before it began"):
        read_past(stand.state, other)


@pytest.mark.parametrize(
    ("changed", "resume"),
    [
        ({"model_reference": "default"}, f"pairlock resume {SESSION} --add-budget WHAT"),
        ({"command": True}, ""),
        ({"parent": "ba9876543210"}, ""),
    ],
)
async def test_what_cannot_go_on_names_no_command(
    stand: Stand, changed: dict[str, object], resume: str
) -> None:
    """A command's own memory is gone; a session below another one goes on with that one."""
    await stand.run(saying(lines("files list")), ONE_TURN)
    change_meta(stand, **changed)

    assert [row.resume for row in listed(stand.state)] == [resume]


async def test_what_a_person_discarded_cannot_go_on(stand: Stand) -> None:
    await stand.run(saying(lines("files list")), ONE_TURN)
    before = [row.resume != "" for row in listed(stand.state)]
    with HostLog(stand.state, writer="test") as host:
        host.append(StageDiscarded(session=SESSION, workspace="", by="me", why="a test"))

    assert (before, [row.resume for row in listed(stand.state)]) == ([True], [""])


def test_at_a_terminal_the_folder_is_shortened_to_its_columns(stand: Stand) -> None:
    asyncio.run(stand.run(saying(lines("files list")), ONE_TURN))
    keyboard, screen = pty.openpty()
    termios.tcsetwinsize(screen, (24, 80))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with os.fdopen(keyboard, "rb", 0) as typed, os.fdopen(screen, "wb", 0) as shown:
        subprocess.run(
            [sys.executable, "-m", "agent_runner", "ps"],
            cwd=ROOT,
            env={**environment, "PAIRLOCK_STATE": str(stand.state)},
            stdout=shown,
            check=True,
        )
        rows = typed.read(65536).decode().splitlines()

    assert max(map(len, rows)) <= 80
    assert rows[0].rstrip().split("  ")[-1].strip() == shortened(str(stand.folder), 17)
    assert rows[1].strip().startswith(f"`pairlock resume {SESSION}")


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("/work/a", "/work/a"),
        ("/home/me/work", "~/work"),
        ("/home/me", "~"),
        ("/home/meagre/work", ".../work"),
        ("/somewhere/far/away/here", ".../away/here"),
        ("/somewhere/averyverylongname", "...rylongname"),
    ],
)
def test_a_folder_is_shortened_at_its_front(folder: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")

    assert shortened(folder, 13) == told
