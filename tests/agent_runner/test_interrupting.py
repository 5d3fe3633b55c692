"""Ctrl-C twice, out of habit, cuts off nothing of what an interrupted session says at its end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
WORK = """
import asyncio, sys, time
from agent_runner.cli.interrupting import interruptible
async def work():
    print("at work", flush=True)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return "interrupted"
said = interruptible(work())
print("closed", flush=True)
deadline = time.monotonic() + 3
while time.monotonic() < deadline:
    time.sleep(0.05)
print(f"account: {said}", flush=True)
"""


@pytest.mark.parametrize(
    ("signals", "code", "said"),
    [(1, 0, "account: interrupted\n"), (2, 0, "account: interrupted\n"), (3, 130, "")],
)
def test_a_signal_behind_the_end_of_the_loop_counts_with_those_before(
    signals: int, code: int, said: str
) -> None:
    """The second one only talks; the third leaves at once, wherever it comes."""
    with subprocess.Popen(
        [sys.executable, "-c", WORK], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "at work\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "closed\n"
        for _ in range(signals - 1):
            process.send_signal(signal.SIGINT)
            assert process.stderr.readline().startswith("pairlock: ")
        rest = process.stdout.read()

    assert (process.returncode, rest) == (code, said)
