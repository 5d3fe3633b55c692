"""Who attaches sees what the ledger tells, answers only where asked to, and leaves the session running."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from agent_runner.cli.attached import AttachedPerson
from agent_runner.question import Question, digest_of, question_fields
from tests.agent_runner.reachable import CHECKOUT, LONG, reachable
from tests.agent_runner.stand import SESSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.agent_runner.stand import Stand


@dataclass
class Attached:
    """`pairlock attach` at a terminal of its own."""

    process: subprocess.Popen[bytes]
    keyboard: int
    seen: str = ""

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self.keyboard, text.encode())

    def until(self, words: str) -> str:
        """Read until some words are on the screen; return everything so far."""
        os.set_blocking(self.keyboard, False)
        deadline = time.monotonic() + LONG
        while words not in self.seen:
            assert time.monotonic() < deadline, self.seen
            try:
                self.seen += os.read(self.keyboard, 65536).decode("utf-8", "replace")
            except BlockingIOError:
                time.sleep(0.02)
            except OSError as error:  # the program has ended
                raise AssertionError(self.seen) from error
        return self.seen


@contextmanager
def attached(stand: Stand, runtime: Path, *options: str) -> Iterator[Attached]:
    """Attach at a terminal."""
    keyboard, screen = pty.openpty()
    environment = {**os.environ, "PAIRLOCK_STATE": str(stand.state), "XDG_RUNTIME_DIR": str(runtime)}
    # setsid(1) makes it the program's own terminal, so that Ctrl-C is a signal; what a shell runs in the
    # background ignores that one, and so would whatever these tests start there.
    command = [*("env", "--default-signal=INT", "setsid", "--ctty"), sys.executable, "-m", "agent_runner"]
    command += ["attach", SESSION, *options]
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdin=screen, stdout=screen, stderr=screen
    ) as process:
        os.close(screen)
        try:
            yield Attached(process, keyboard)
        finally:
            process.kill()
            os.close(keyboard)


@pytest.fixture
def asking(stand: Stand, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return the runner of a session that asks whether two files may be removed."""
    for name in ("a", "b c"):
        (stand.folder / name).write_text(name)
    with reachable(stand, "asks", tmp_path) as process:
        yield process


def test_two_who_are_attached_see_the_question_and_the_first_answer_counts(
    stand: Stand, asking: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """The one who did not answer is told; what is typed before the next question is no answer to it."""
    with attached(stand, tmp_path, "--answer") as one, attached(stand, tmp_path, "--answer") as other:
        one.until(f"action {SESSION}/1")
        one.until("approve?  files remove a")
        other.until("type yes to allow it once")
        one.until("type yes to allow it once")
        one.type("yes\n")
        one.until(f"approved: {SESSION}/1")
        other.until("no longer asked")
        other.until(f"action {SESSION}/2")
        other.until("approve?  files remove 'b c'")
        other.seen = ""
        other.type("no\n")
        other.until(f"denied: {SESSION}/2")

        assert asking.wait(LONG) == 0
        assert one.process.wait(LONG) == 0

    answers = [(entry["answer"], entry["via"]) for entry in stand.entries("approval.answered")]
    assert answers == [("approved", "socket"), ("denied", "socket")]
    assert sorted(path.name for path in stand.folder.iterdir()) == ["b c"]


def test_the_blanks_of_a_content_are_seen_wherever_the_terminal_breaks_its_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Folded as talk is, a line's further indentation was lost, and another program was approved."""
    keyboard, screen = pty.openpty()
    termios.tcsetwinsize(screen, (24, 80))
    body = b"if asked:\n    first()\n" + b" " * 8 + b"x" * 60 + b"   last()   \n"
    argv = ("files", "write", "a.py")
    asked = Question(action=f"{SESSION}/1", argv=argv, body=body, digest=digest_of(argv, body), reasons=())
    with os.fdopen(keyboard, "rb", 0) as typed, os.fdopen(screen, "r+b", 0) as shown:
        terminal = io.TextIOWrapper(shown, encoding="utf-8", write_through=True)
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)

        AttachedPerson(SESSION)._show(question_fields(asked))

        seen = b""
        while b"refuse it:\r\n" not in seen:
            seen += typed.read(65536)
    assert seen.decode().splitlines() == [
        "",
        f"action {SESSION}/1",
        "content, 3 lines:",
        "    | if asked:",
        "    |     first()",
        f"    |         {'x' * 60}",
        "    :    last()\\x20\\x20\\x20",
        "approve?  files write a.py",
        "          with the content above",
        "type yes to allow it once, anything else to refuse it:",
    ]


def test_without_being_asked_to_it_only_shows(
    stand: Stand, asking: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """`yes` typed into it answers nothing; Ctrl-C ends it alone. Answering needs a terminal."""
    environment = {**os.environ, "PAIRLOCK_STATE": str(stand.state), "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "agent_runner", "attach", SESSION, "--answer"]
    nobody = subprocess.run(
        command, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    with attached(stand, tmp_path) as watching:
        watching.until("asks    files remove a")
        watching.type("yes\n")
        time.sleep(0.5)
        watching.type("\x03")

        assert watching.process.wait(LONG) == 130
    assert nobody.returncode == 2
    assert nobody.stderr.startswith(b"pairlock: `--answer` needs a terminal to ask at")
    assert asking.poll() is None
    assert stand.entries("approval.answered") == []


def test_it_ends_when_the_runner_is_killed(
    stand: Stand, asking: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """With a question on the screen, too, which nobody waits for any more."""
    with attached(stand, tmp_path, "--answer") as watching:
        watching.until("type yes to allow it once")
        asking.send_signal(signal.SIGKILL)

        assert watching.process.wait(LONG) == 0


def test_as_json_it_prints_the_ledgers_entries(
    stand: Stand, asking: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """One object a line, the same ones, to the last; no terminal is needed."""
    environment = {**os.environ, "PAIRLOCK_STATE": str(stand.state), "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "agent_runner"]
    with subprocess.Popen(
        [*command, "attach", SESSION, "--json"], cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE
    ) as watching:
        stopped = subprocess.run([*command, "stop", SESSION], cwd=CHECKOUT, env=environment, check=False)
        out, _ = watching.communicate(timeout=LONG)

    ledger = (stand.state / "sessions" / SESSION / "events.jsonl").read_text().splitlines()
    told, kept = [json.loads(line) for line in out.splitlines()], [json.loads(line) for line in ledger]
    assert (stopped.returncode, watching.returncode, asking.wait(LONG)) == (0, 0, 0)
    assert [(entry["seq"], entry["type"]) for entry in told] == [(n, e["type"]) for n, e in enumerate(kept)]
    assert "session.closed" in [entry["type"] for entry in told]
