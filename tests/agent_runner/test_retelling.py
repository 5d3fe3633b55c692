"""Who attaches sees what the session's own terminal shows, told from the ledger."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from agent_runner.cli.attaching import show_attached
from agent_runner.cli.talk import PlainWatcher
from audit.openings import without
from audit.state import StateFiles
from tests.agent_runner.reachable import CHECKOUT, LONG
from tests.agent_runner.stand import FINISH, SESSION, lines, saying, tool
from tests.agent_runner.test_attaching import asking, attached

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

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


async def test_what_was_withheld_is_said_to_be(stand: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    """Of what the model said, of an outcome and of the task; what is left is told."""
    await ran(stand)
    files = StateFiles(stand.state).session(SESSION)
    gone = [
        stand.entries("message.added")[1]["content"],
        stand.entries("model.answered")[0]["text"],
        stand.entries("action.finished")[0]["body"],
    ]
    without(files, {each["digest"] for each in gone})
    capsys.readouterr()

    await asyncio.to_thread(show_attached, stand.state, SESSION, answer=False)

    told = capsys.readouterr().out.splitlines()
    withheld = "withheld: the ledger holds a commitment alone"
    assert f"  task    {withheld}" in told
    assert told[told.index("turn 1") + 1 :][:3] == [
        f"  said    {withheld}",
        "  ran     files list",
        f"          {withheld}",
    ]
    assert "  | looking" in told


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


def test_a_terminal_shows_what_comes_later_and_budgets_below(
    stand: Stand, asking: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands behind commitments is written after it began to look; no bar is in a question's way."""
    monkeypatch.setenv("TERM", "xterm")
    with attached(stand, tmp_path, "--answer") as one, attached(stand, tmp_path) as other:
        other.until("asks    files remove a")
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
