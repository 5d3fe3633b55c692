"""Who attaches sees what the session's own terminal shows, told from the ledger."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import typer

from agent_runner.cli.attaching import show_attached
from agent_runner.cli.talk import PlainWatcher
from agent_runner.retelling import Retelling
from audit import openings
from audit.chain import Entry
from audit.host import HostLog
from audit.host_event import OpeningWithheld
from audit.openings import without
from audit.state import StateFiles
from audit.table import places_in
from tests.agent_runner.reachable import CHECKOUT, LONG
from tests.agent_runner.stand import FINISH, SESSION, lines, saying, tool
from tests.agent_runner.test_attaching import asking, attached

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.stand import Stand

__all__ = ["asking"]

HOSTILE = "\x1b[2J\u202e first\n  ran     files remove a\nlast"
READ_ONLY = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"], deny: ["files remove"]}\n'
REPLIES = (
    lines("files list", "files remove a", "nonsense", text=HOSTILE),
    tool("files_read", '{"path": "a\\u202e"}'),
    lines("files search 'is not there' .", text="looking"),
    FINISH,
)


async def ran(stand: Stand) -> None:
    """Run a session whose own view goes to stderr."""
    for name in ("a", "b c"):
        (stand.folder / name).write_text(f"{HOSTILE}\n" * 9)
    await stand.run(saying(*REPLIES), READ_ONLY, watcher=PlainWatcher())


async def test_it_shows_line_by_line_what_the_sessions_own_terminal_does(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once the session has ended, too: all of it, escaped as there."""
    await ran(stand)
    own = capsys.readouterr().err.splitlines()

    await asyncio.to_thread(show_attached, stand.state, SESSION, answer=False)

    told = capsys.readouterr().out.splitlines()
    assert told == [
        f"  session {SESSION}: files; model test",
        "task",
        "  | a test",
        *own,
        "  ended   done: ok",
    ]
    assert any("\\x1b[2J\\u202e first" in line for line in own)
    assert sum(line.startswith("  denied  files remove a") for line in own) == 1
    assert sum(line.startswith("  ran     ") for line in own) == 3
    assert "\x1b" not in "".join(told)


@pytest.mark.parametrize("recorded", [True, False])
async def test_what_was_withheld_is_said_to_be_and_what_is_lost_too(
    stand: Stand, capsys: pytest.CaptureFixture[str], *, recorded: bool
) -> None:
    """Of what the model said, of an outcome and of the task; what is left is told."""
    await ran(stand)
    files = StateFiles(stand.state).session(SESSION)
    gone = [
        stand.entries("message.added")[1]["content"],
        stand.entries("model.answered")[0]["text"],
        stand.entries("action.finished")[0]["body"],
    ]
    without(files, {each["digest"] for each in gone})
    if recorded:
        with HostLog(stand.state, writer="test") as host:
            for each in gone:
                host.append(
                    OpeningWithheld(session=SESSION, commitment=each["digest"], by="me", why="a test")
                )
    capsys.readouterr()

    await asyncio.to_thread(show_attached, stand.state, SESSION, answer=False)

    told = capsys.readouterr().out.splitlines()
    withheld = "withheld: the ledger holds a commitment alone"
    if not recorded:
        withheld = "gone: nothing says who removed it"
    assert f"  task    {withheld}" in told
    assert told[told.index("turn 1") + 1 :][:3] == [
        f"  said    {withheld}",
        "  ran     files list",
        f"          {withheld}",
    ]
    assert "  | looking" in told


async def test_what_was_changed_is_told_and_the_rest_too(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever changes one body hides no other; it ends with 6."""
    await ran(stand)
    files = StateFiles(stand.state).session(SESSION)
    table = files.openings.read_bytes()
    files.openings.write_bytes(table.replace(b'"looking"', b'"lurking"'))
    assert table.count(b'"looking"') == 1
    capsys.readouterr()

    with pytest.raises(typer.Exit) as ended:
        await asyncio.to_thread(show_attached, stand.state, SESSION, answer=False)

    captured = capsys.readouterr()
    told = captured.out.splitlines()
    (entry,) = [place for place, line in enumerate(told) if line.startswith("  ?       entry ")]
    digest = stand.entries("model.answered")[2]["text"]["digest"]
    assert f"the value behind commitment `{digest[:16]}` was changed" in told[entry]
    assert "  said    changed since it was written" in told
    assert told[-1] == "  ended   done: ok"
    assert ended.value.exit_code == 6
    assert "were changed" in captured.err


async def test_each_body_that_is_missing_costs_no_look_at_all_that_is_there(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is read again where it has changed since; and nothing is kept of a denied action."""
    await ran(stand)
    files = StateFiles(stand.state).session(SESSION)
    gone = [entry["text"]["digest"] for entry in stand.entries("model.answered") if entry["text"]]
    without(files, set(gone))
    looks: list[Path] = []
    monkeypatch.setattr(openings, "places_in", lambda *given: looks.append(given[0]) or places_in(*given))

    told = Retelling(stand.state, SESSION, PlainWatcher())
    for entry in told.reader.entries():
        assert isinstance(entry, Entry)
        told.take(entry)

    assert len(gone) > 1
    assert looks == [files.openings] * 2
    assert told._intended == {}


def test_a_reader_that_has_gone_ends_it_alone(
    stand: Stand, asking: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """`attach | head`: the session goes on."""
    environment = {**os.environ, "PAIRLOCK_STATE": str(stand.state), "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "agent_runner"]
    with subprocess.Popen(
        [*command, "attach", SESSION], cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE
    ) as watching:
        assert watching.stdout is not None
        first = watching.stdout.readline()
        watching.stdout.close()
        subprocess.run([*command, "stop", SESSION], cwd=CHECKOUT, env=environment, check=True)

        assert watching.wait(LONG) != 0
    assert first == f"  session {SESSION}: files; model test\n".encode()
    assert asking.wait(LONG) == 0


def test_an_entry_that_does_not_hold_stays_on_a_terminal(
    stand: Stand, asking: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands below is taken away first: its last drawing went over the notice."""
    monkeypatch.setenv("TERM", "xterm")
    with attached(stand, tmp_path) as watching:
        watching.until("elapsed ")
        with StateFiles(stand.state).session(SESSION).events.open("ab") as ledger:
            ledger.write(b'{"seq":forged}\n')
        watching.until("as it stands: ")
        notice = watching.until("pairlock: entry ").partition("does not hold")[2]

        assert watching.process.wait(LONG) == 6
    assert asking.poll() is None
    assert "\x1b[2K" not in notice
    assert "\x1b[1A" not in notice


def test_a_terminal_shows_what_comes_later_and_budgets_below(
    stand: Stand, asking: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands behind commitments is written after it began to look; no bar is in a question's way."""
    monkeypatch.setenv("TERM", "xterm")
    with attached(stand, tmp_path, "--answer") as one, attached(stand, tmp_path) as other:
        other.until("asks    files remove a")
        other.until(f"`pairlock approve {SESSION}` shows it, and how to answer")
        other.until("turns: 1 of")
        other.until("elapsed ")
        one.until("type yes to allow it once")
        one.type("yes\n")
        one.until(f"action {SESSION}/2")
        one.until("type yes to allow it once")
        one.type("yes\n")

        assert (one.process.wait(LONG), other.process.wait(LONG)) == (0, 0)
        told = other.until("ended   done")
    assert "ran     files remove a" in told
    assert "withheld" not in told
    assert "answer  approved by" in told
    assert asking.wait(LONG) == 0
