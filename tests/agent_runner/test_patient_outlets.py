"""Whoever reads what a command prints may pause: the command's loop goes on, and nothing is lost."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, TextIO

import pytest

from agent_runner.cli import outlets
from agent_runner.cli.outlets import Outlets, patient_outlets

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
LINES = 40_000
MUCH = 1_000_000
"""More than a pipe holds."""
START = """
import asyncio, pathlib, sys, typer
from agent_runner.cli import outlets
from agent_runner.cli.interrupting import interruptible
from agent_runner.cli.talk import say
"""
PRINTING = f"""
{START}
async def work():
    for number in range({LINES}):
        typer.echo(f"line {{number}}")
        say(f"aside {{number}}")
    pathlib.Path(sys.argv[1]).touch()

interruptible(work())
typer.echo("the account")
"""
ONE_LINE = f"""
{START}
async def work():
    typer.echo("the one line") if sys.argv[1] == "stdout" else say("the one line")

interruptible(work())
"""
INTERRUPTED = f"""
{START}
async def work():
    typer.echo("x" * {MUCH})
    say("at work")
    try:
        await asyncio.sleep(600)
    finally:
        say("closed")

interruptible(work())
"""
FULL = f"""
{START}
outlets.MOST_BYTES = 1000
async def work():
    typer.echo("x" * {MUCH})
    open(sys.argv[1], "w").close()
    typer.echo("behind it")
    await asyncio.sleep(600)

interruptible(work())
"""


@contextmanager
def started(
    program: str, *words: str, out: int = subprocess.PIPE, err: int = subprocess.PIPE
) -> Iterator[Started]:
    """Start a program whose stdout nobody reads yet; it ends with the block, and within two minutes."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *words],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.DEVNULL, stdout=out, stderr=err,
    ) as process:  # fmt: skip
        watch = threading.Timer(120, process.kill)
        watch.start()
        try:
            yield process
        finally:
            watch.cancel()
            process.kill()


Started = subprocess.Popen[bytes]


def appears(path: Path) -> bool:
    """Return whether a file appears within a minute."""
    for _ in range(600):
        if path.exists():
            return True
        time.sleep(0.1)
    return False


def test_a_reader_that_pauses_holds_up_no_loop_and_misses_nothing(tmp_path: Path) -> None:
    with started(PRINTING, str(tmp_path / "went-on"), err=subprocess.STDOUT) as process:
        went_on = appears(tmp_path / "went-on")
        out, _ = process.communicate(timeout=60)

    lines = [line for number in range(LINES) for line in (f"line {number}", f"aside {number}")]
    assert went_on
    assert out.decode().splitlines() == [*lines, "the account"]
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("unwritten", "lost", "why"),
    [
        ("stdout", "full", "No space left on device"),
        ("stdout", "unread", "Broken pipe"),
        ("stderr", "full", ""),
        ("stderr", "unread", ""),
    ],
)
def test_a_last_piece_that_stdout_does_not_take_is_a_failure(unwritten: str, lost: str, why: str) -> None:
    """Nothing is printed behind it whose writer could be told; of stderr nobody is told."""
    reading, unread = os.pipe()
    os.close(reading)
    with os.fdopen(unread, "wb") as pipe, Path("/dev/full").open("wb") as full:
        nowhere = (full if lost == "full" else pipe).fileno()
        on_stdout = unwritten == "stdout"
        with started(
            ONE_LINE,
            unwritten,
            out=nowhere if on_stdout else subprocess.PIPE,
            err=subprocess.PIPE if on_stdout else nowhere,
        ) as process:
            _, err = process.communicate(timeout=60)

    assert bool(process.returncode) == on_stdout
    assert why in (err or b"").decode()


@pytest.mark.parametrize(("signals", "said"), [(0, []), (1, ["pairlock: still closing"])])
def test_a_signal_while_the_last_of_it_is_written_cuts_off_nothing(signals: int, said: list[str]) -> None:
    """The loop has ended by then, and its own handlers with it."""
    with started(INTERRUPTED) as process:
        err = _closed(process)
        for _ in range(signals):
            process.send_signal(signal.SIGTERM)
            said = [line for line in said if err.readline().decode().startswith(line)]
        out = process.stdout.read() if process.stdout else b""
        process.wait(60)

    assert (process.returncode, len(out)) == (130, MUCH + 1)
    assert len(said) == signals


def test_the_third_signal_leaves_while_the_last_of_it_is_written() -> None:
    """What was still to be said is said: stderr waits for no reader of stdout."""
    with started(INTERRUPTED) as process:
        err = _closed(process)
        process.send_signal(signal.SIGTERM)
        assert err.readline().startswith(b"pairlock: still closing")
        process.send_signal(signal.SIGTERM)
        last = err.readline()
        process.wait(60)
        out = process.stdout.read() if process.stdout else b""

    assert process.returncode == 130
    assert last.startswith(b"pairlock: left at once") or not last  # where half a second was too short for it
    assert len(out) < MUCH


def _closed(process: Started) -> IO[bytes]:
    """Interrupt a program, and return its stderr when its loop has ended, as far as can be told."""
    assert process.stderr is not None
    assert process.stderr.readline() == b"at work\n"
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline() == b"closed\n"
    time.sleep(1)
    return process.stderr


def test_signals_reach_a_loop_that_itself_waits_for_a_reader(tmp_path: Path) -> None:
    """As much waits as may: the loop stands still in writing more, and words that are said wait behind it."""
    with started(FULL, str(tmp_path / "full"), err=subprocess.STDOUT) as process:
        assert appears(tmp_path / "full")
        for _ in range(3):
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
        process.wait(60)

    assert process.returncode == 130


@contextmanager
def piped() -> Iterator[tuple[int, TextIO]]:
    """Yield both ends of a pipe."""
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "w", encoding="utf-8") as stream:
            yield reading, stream
    finally:
        with suppress(OSError):  # a test may have closed it
            os.close(reading)


def read_from(reading: int, count: int) -> bytes:
    """Return so many bytes of a pipe's, or fewer where none comes for a minute."""
    raw = b""
    while len(raw) < count and select.select([reading], [], [], 60)[0]:
        raw += os.read(reading, count - len(raw))
    return raw


def test_who_writes_more_than_may_wait_waits_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlets, "MOST_BYTES", 1000)
    with piped() as (reading, stream):
        made = Outlets()
        outlet = made.outlet_of(stream)
        wrote: list[str] = []

        def write() -> None:
            for letter in "xyz":
                outlet.write(letter * MUCH + "\n")
                wrote.append(letter)

        writing = threading.Thread(target=write)
        writing.start()
        writing.join(1)
        before = list(wrote)
        raw = read_from(reading, 3 * (MUCH + 1))
        writing.join(60)
        made.finish(seconds=60)

    assert before == ["x"]
    assert raw.decode().split() == [letter * MUCH for letter in "xyz"]


def test_a_descriptor_that_does_not_block_gets_all_of_it() -> None:
    """Whoever shares it may have set it so."""
    with piped() as (reading, stream):
        os.set_blocking(stream.fileno(), False)
        made = Outlets()
        print("x" * MUCH, file=made.outlet_of(stream))
        raw = read_from(reading, MUCH + 1)
        made.finish(seconds=60)

    assert raw == b"x" * MUCH + b"\n"


def test_a_reader_that_has_gone_is_told_of_once() -> None:
    """As a write itself would; what comes after is lost, and holds up nobody."""
    with piped() as (reading, stream):
        os.close(reading)
        made = Outlets()
        outlet = made.outlet_of(stream)
        deadline = time.monotonic() + 60
        is_told = False
        while not is_told and time.monotonic() < deadline:
            try:
                print("x", file=outlet, flush=True)
            except BrokenPipeError:
                is_told = True
            time.sleep(0.001)
        for _ in range(100):
            print("x", file=outlet, flush=True)
        made.finish(seconds=60)

        assert is_told
        assert made.untold(stream.fileno()) is None


def test_a_terminal_and_a_file_are_written_to_as_ever(tmp_path: Path) -> None:
    """An answer counts only behind what was shown on one; the other has no reader who pauses."""
    ours, theirs = pty.openpty()
    try:
        with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
            assert Outlets().outlet_of(terminal) is terminal
    finally:
        os.close(ours)
    with (tmp_path / "file").open("w", encoding="utf-8") as file:
        assert Outlets().outlet_of(file) is file
    nowhere = io.StringIO()
    assert Outlets().outlet_of(nowhere) is nowhere
    with piped() as (_, stream):
        assert Outlets().outlet_of(stream) is not stream


def test_streams_that_are_none_or_closed_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without a console has none; whoever prints in one may close it."""
    with piped() as (_, stream):
        monkeypatch.setattr(sys, "stdout", None)
        monkeypatch.setattr(sys, "stderr", stream)
        with patient_outlets():
            sys.stderr.close()

        assert (sys.stdout, sys.stderr) == (None, stream)
