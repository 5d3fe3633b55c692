"""Whoever reads what a command prints may pause: the command's loop goes on, and nothing is lost."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_runner.cli.outlets import Pump

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
LINES = 40_000
PRINTING = f"""
import pathlib, sys
import typer
from agent_runner.cli.interrupting import interruptible
from agent_runner.cli.talk import say

async def work():
    for number in range({LINES}):
        typer.echo(f"line {{number}}")
        say(f"aside {{number}}")
    pathlib.Path(sys.argv[1]).touch()

interruptible(work())
typer.echo("the account")
"""


@pytest.fixture
def printing(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command that prints much, and touches `went-on` once it has."""
    with subprocess.Popen(
        [sys.executable, "-c", PRINTING, str(tmp_path / "went-on")],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        yield process
        process.kill()


def test_a_reader_that_pauses_holds_up_no_loop_and_misses_nothing(
    printing: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    for _ in range(600):
        if (tmp_path / "went-on").exists():
            break
        time.sleep(0.1)
    went_on = (tmp_path / "went-on").exists()
    out, _ = printing.communicate(timeout=60)

    lines = [line for number in range(LINES) for line in (f"line {number}", f"aside {number}")]
    assert went_on
    assert out.decode().splitlines() == [*lines, "the account"]
    assert printing.returncode == 0


def test_a_reader_that_has_gone_is_told_of_once() -> None:
    """As a write itself would; what comes after is lost, and holds up nobody."""
    reading, writing = os.pipe()
    os.close(reading)
    pump = Pump()
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        outlet = pump.outlet_of(stream)
        failures = 0
        for _ in range(200):
            try:
                print("x", file=outlet, flush=True)
            except BrokenPipeError:
                failures += 1
            time.sleep(0.001)
        pump.finish()

    assert failures == 1


def test_a_terminal_is_written_to_as_ever() -> None:
    """An answer counts only behind what was shown."""
    ours, theirs = pty.openpty()
    try:
        with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
            assert Pump().outlet_of(terminal) is terminal
    finally:
        os.close(ours)
    nowhere = io.StringIO()
    assert Pump().outlet_of(nowhere) is nowhere
