"""Measure a command that a program calls by name inside, against its parts: a start, the way, and the action.

Run: `python -m benchmarks.stub_call`. It needs a Docker engine; everything is measured in this run, in one
real container, and cleaned up. The floor of a call is its parts: the start of the stub itself (which ends at
once where it may open nothing), one round trip over the link, for its words go out of the container and the
answer back in, and the same action from the host, whose durable writes are in it. The overhead is what a call
takes beyond these. Each is measured in turns with the others; the best of each says what is left on a machine
that has nothing else to do.
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
    from collections.abc import Awaitable, Callable

    from cli_tools.gate import Gate
    from sandbox.session import Sandbox

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
import json, os, resource, time
quiet = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_WRONLY, 0) for number in (1, 2)]
def once(argv):
    start = time.perf_counter()
    os.waitpid(os.posix_spawn(argv[0], argv, os.environ, file_actions=quiet), 0)
    return (time.perf_counter() - start) * 1000
called = [os.environ["PAIRLOCK_COMMANDS"] + "/files", *"LINE".split()[1:]]
most = resource.getrlimit(resource.RLIMIT_NOFILE)
def started():
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, most[1]))
    try:
        return once(called)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
print(json.dumps([[started(), once(called)] for _ in range(ROUNDS)]))
"""


@dataclass(frozen=True, slots=True)
class Samples:
    """Milliseconds of each part, measured in turns."""

    started: list[float]
    called: list[float]
    linked: list[float]
    acted: list[float]


async def measured(gate: Gate, sandbox: Sandbox) -> Samples:
    """Return the samples of the stub's start, of a call by name, of the link and of the action."""
    text = INSIDE.replace("ROUNDS", str(ROUNDS)).replace("LINE", LINE)
    samples = Samples([], [], [], [])
    for _ in range(TURNS):
        seen = await gate.act(LineProposal(line="python", body=text.encode()))
        for started, called in json.loads(seen.text):
            samples.started.append(started)
            samples.called.append(called)
        samples.linked.extend(await timed(lambda: sandbox.call("files.stat", {"path": "small.txt"})))
        samples.acted.extend(await timed(lambda: gate.act(LineProposal(line=LINE))))
    return samples


async def timed(once: Callable[[], Awaitable[object]]) -> list[float]:
    """Return how long an awaited call takes, in milliseconds."""
    samples = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        await once()
        samples.append((time.perf_counter() - start) * 1000)
    return samples


def row(name: str, p50: float, best: float) -> None:
    """Print one line of the table."""
    print(f"{name:<54}{p50:>9.2f}{best:>9.2f}")


async def main() -> None:
    """Measure, and print the parts and what is left."""
    async with opened(POLICY) as it:
        stubs = Stubs(it.gate, built_in(), it.policy, it.record, spend=lambda: None)
        await it.sandbox.put_on_path(stubs.names, stubs)
        samples = await measured(it.gate, it.sandbox)
    print(f"{f'load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors':<54}{'p50, ms':>9}{'best':>9}")
    floor = {
        "the stub, started inside": samples.started,
        "one round trip over the link": samples.linked,
        "the action from the host, gate and ledger included": samples.acted,
    }
    for name, part in floor.items():
        row(name, median(part), min(part))
    row("the action called by name inside", median(samples.called), min(samples.called))
    p50 = median(samples.called) - sum(median(part) for part in floor.values())
    best = min(samples.called) - sum(min(part) for part in floor.values())
    row("the stub's overhead, beyond all three", p50, best)


if __name__ == "__main__":
    asyncio.run(main())
