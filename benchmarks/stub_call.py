"""Measure a command that a program calls by name inside, against its parts: a start, and the action.

Run: `python -m benchmarks.stub_call`. It needs a Docker engine; everything is measured in this run, in one
real container, and cleaned up. The stub's overhead is what a call takes beyond the start of a program that
does nothing and beyond the same action from the host, both durable writes of it included. Each is measured in
turns with the others; the best of each says what is left on a machine that has nothing else to do.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.opened import opened
from cli_tools.action import LineProposal
from cli_tools.catalogue import built_in
from cli_tools.stubs import Stubs

if TYPE_CHECKING:
    from cli_tools.gate import Gate

POLICY = """version: 1
name: benchmark
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", python]}
"""
TURNS = 10
ROUNDS = 40
"""In each turn."""
LINE = "files stat small.txt"
INSIDE = """
import json, os, time
quiet = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
def once(argv):
    start = time.perf_counter()
    os.waitpid(os.posix_spawn(argv[0], argv, os.environ, file_actions=quiet), 0)
    return (time.perf_counter() - start) * 1000
called = [os.environ["PAIRLOCK_COMMANDS"] + "/files", *"LINE".split()[1:]]
print(json.dumps([[once(["/bin/true"]), once(called)] for _ in range(ROUNDS)]))
"""


@dataclass(frozen=True, slots=True)
class Samples:
    """Milliseconds of each part, measured in turns."""

    started: list[float]
    called: list[float]
    acted: list[float]


async def measured(gate: Gate) -> Samples:
    """Return the samples of a program's start, of a call by name, and of the action from the host."""
    text = INSIDE.replace("ROUNDS", str(ROUNDS)).replace("LINE", LINE)
    samples = Samples([], [], [])
    for _ in range(TURNS):
        seen = await gate.act(LineProposal(line="python", body=text.encode()))
        for started, called in json.loads(seen.text):
            samples.started.append(started)
            samples.called.append(called)
        for _ in range(ROUNDS):
            start = time.perf_counter()
            await gate.act(LineProposal(line=LINE))
            samples.acted.append((time.perf_counter() - start) * 1000)
    return samples


def row(name: str, p50: float, best: float) -> None:
    """Print one line of the table."""
    print(f"{name:<54}{p50:>9.2f}{best:>9.2f}")


async def main() -> None:
    """Measure, and print the parts and what is left."""
    async with opened(POLICY) as it:
        stubs = Stubs(it.gate, built_in(), it.policy, it.record, spend=lambda: None)
        await it.sandbox.put_on_path(stubs.names, stubs)
        samples = await measured(it.gate)
    print(f"{f'load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors':<54}{'p50, ms':>9}{'best':>9}")
    parts = (samples.started, samples.acted, samples.called)
    names = (
        "a program that does nothing, started inside",
        "the action from the host, gate and ledger included",
        "the action called by name inside",
    )
    for name, part in zip(names, parts, strict=True):
        row(name, median(part), min(part))
    (start, act, call), (least_start, least_act, least_call) = map(median, parts), map(min, parts)
    row("the stub over both", call - start - act, least_call - least_start - least_act)


if __name__ == "__main__":
    asyncio.run(main())
