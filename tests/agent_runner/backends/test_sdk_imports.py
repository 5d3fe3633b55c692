"""The loop goes on while a model server's SDK is imported, however long that takes on a busy machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
IMPORTED = """
import asyncio, json, sys, time

async def measured(beside):
    gap = 0.0
    async def beat():
        nonlocal gap
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            gap, last = max(gap, time.perf_counter() - last), time.perf_counter()
    beating = asyncio.create_task(beat())
    await asyncio.sleep(0.01)
    began = time.perf_counter()
    if beside:
        from agent_runner.backends.sdk import sdk_imported
        await sdk_imported(*sys.argv[2:])
    else:
        for name in sys.argv[2:]:
            __import__(name)
    took = time.perf_counter() - began
    await asyncio.sleep(0.01)
    beating.cancel()
    print(json.dumps(gap / took))

asyncio.run(measured(sys.argv[1] == "beside"))
"""


def share_of_the_longest_pause(way: str, *modules: str) -> float:
    """Return how much of an import's time the loop stood still at once, in an interpreter of its own."""
    argv = [sys.executable, "-c", IMPORTED, way, *modules]
    return float(json.loads(subprocess.run(argv, check=True, capture_output=True, cwd=ROOT).stdout))


@pytest.mark.parametrize(
    "modules",
    [("anthropic", "anthropic.resources.messages"), ("openai", "openai.resources.chat.completions")],
)
def test_the_loop_goes_on_while_an_sdk_is_imported(modules: tuple[str, ...]) -> None:
    assert share_of_the_longest_pause("beside", *modules) < 0.5


def test_an_import_in_the_loop_itself_would_stop_it() -> None:
    """The twin: what is measured does tell."""
    assert share_of_the_longest_pause("in it", "openai", "openai.resources.chat.completions") > 0.5
