"""Measure one action, gate and ledger included, beside `docker exec` through the same SDK, and its floors.

Run: `python -m benchmarks.round_trip [--swe-rex PYTHON]`. It needs a Docker engine; everything is measured in
this run, in a real container, and cleaned up. All are measured in turns, so that each row meets the same
machine; the best of each says what is left where nothing else runs. Each durable write that an action makes
is counted as it makes it. With a Python that has `swe-rex` and `aiohttp`, its bare execute takes turns
with `run` of the same program.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import docker

from benchmarks.opened import opened
from benchmarks.wire import wire
from cli_tools.action import LineProposal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from _typeshed import HasFileno

    from benchmarks.opened import Opened
    from cli_tools.gate import Gate
    from sandbox.session import Sandbox

POLICY = """\
version: 1
name: benchmark
grant: [files]
files: {limits: {written_bytes: 512MiB}}
commands: {allow: ["files *"]}
"""
WITH_EXEC = """\
version: 1
name: benchmark
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", run]}
"""
"""In such a session a thread writes the ledger."""
TURNS = 10
ROUNDS = 40
"""In each turn."""
EXECUTIONS = 5
"""Of `docker exec`, in each turn."""
AT_ONCE = 16
BULK_BYTES = 12 * 1024 * 1024
LINE = LineProposal(line="files read small.txt")
RUN = LineProposal(line="run true")
WRITES, LINK, ACTION = "the durable writes that an action needs", "one operation over the link", "one action"
BESIDE_PROGRAMS = "one action in a session with `exec`"
WIRE = "a small message through the engine's attach"
"""There and back, to a static program that echoes: the floor of the link."""
EXECUTED, RAN, OTHER = (
    "`docker exec true` through the SDK",
    "one action that is `run true`",
    "SWE-ReX's execute",
)

Samples = dict[str, list[float]]
"""Milliseconds of each row."""


async def durable_writes_of(gate: Gate) -> int:
    """Return how often an action waits for the disk, counted where it does."""
    counted, real = 0, os.fdatasync

    def counting(fd: int | HasFileno) -> None:
        nonlocal counted
        counted += 1
        real(fd)

    os.fdatasync = counting
    try:
        for _ in range(ROUNDS):
            await gate.act(LINE)
    finally:
        os.fdatasync = real
    return round(counted / ROUNDS)


async def timed(once: Callable[[], Awaitable[object]], rounds: int = ROUNDS) -> list[float]:
    """Return how long an awaited call takes, in milliseconds."""
    samples = []
    for _ in range(rounds):
        start = time.perf_counter()
        await once()
        samples.append((time.perf_counter() - start) * 1000)
    return samples


async def turns(
    it: Opened,
    holding: Opened,
    sent: Callable[[], Awaitable[None]],
    writes: int,
    other: subprocess.Popen[str] | None,
) -> Samples:
    """Measure every row in turns.

    Args:
        it: A session with `files`.
        holding: One that holds `exec` too, in whose container programs are run.
        sent: Sends a message and waits for it.
        writes: How often an action waits for the disk.
        other: SWE-ReX's side, if it is there.
    """
    samples: Samples = defaultdict(list)
    client = docker.APIClient(version="auto")
    floor = os.open(it.folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def written() -> None:
        for _ in range(writes):
            os.write(floor, bytes(800))
            os.fdatasync(floor)

    async def executed() -> None:
        client.exec_start(client.exec_create(holding.sandbox.container_id, ["true"])["Id"])

    try:
        for _ in range(TURNS):
            samples[WRITES] += await timed(written)
            samples[WIRE] += await timed(sent)
            samples[LINK] += await timed(lambda: it.sandbox.call("files.read", {"path": "small.txt"}))
            samples[ACTION] += await timed(lambda: it.gate.act(LINE))
            samples[BESIDE_PROGRAMS] += await timed(lambda: holding.gate.act(LINE))
            samples[EXECUTED] += await timed(executed, EXECUTIONS)
            if other is not None:
                samples[RAN] += await timed(lambda: holding.gate.act(RUN))
                samples[OTHER] += await asyncio.to_thread(_turn_of, other)
    finally:
        os.close(floor)
        client.close()
    return samples


def _turn_of(other: subprocess.Popen[str]) -> list[float]:
    if other.stdin is None or other.stdout is None:
        raise RuntimeError("SWE-ReX was started without pipes")
    print("turn", file=other.stdin, flush=True)
    return [float(sample) for sample in json.loads(other.stdout.readline())]


async def at_once(gate: Gate) -> float:
    """Return how many actions a second 16 callers get through the gate together, in the best of the turns."""

    async def caller() -> None:
        for _ in range(ROUNDS):
            await gate.act(LINE)

    rates = []
    for _ in range(TURNS // 2):
        start = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
        rates.append(AT_ONCE * ROUNDS / (time.perf_counter() - start))
    return max(rates)


async def bulk(sandbox: Sandbox) -> tuple[float, float]:
    """Return MB/s of writing and of reading one file whole."""
    content = os.urandom(BULK_BYTES)
    start = time.perf_counter()
    await sandbox.call("files.write", {"path": "bulk"}, body=content)
    between = time.perf_counter()
    part = 4 * 1024 * 1024
    for offset in range(0, BULK_BYTES, part):
        await sandbox.call("files.read", {"path": "bulk", "offset": offset, "limit_bytes": part})
    end = time.perf_counter()
    return BULK_BYTES / 1e6 / (between - start), BULK_BYTES / 1e6 / (end - between)


def row(name: str, p50: float, best: float, unit: str = "ms") -> None:
    """Print one line of the table."""
    print(f"{name:<52}{p50:>9.2f}{best:>9.2f} {unit}")


def told(samples: Samples, writes: int) -> None:
    """Print the parts, and what follows from them."""
    print(f"{f'load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors':<52}{'p50':>9}{'best':>9}")
    for name, part in samples.items():
        row(f"{name} ({writes})" if name == WRITES else name, median(part), min(part))
    p50, best = ({name: pick(part) for name, part in samples.items()} for pick in (median, min))
    row("an action over its durable writes", p50[ACTION] - p50[WRITES], best[ACTION] - best[WRITES])
    row("an operation to its message", p50[LINK] / p50[WIRE], best[LINK] / best[WIRE], "times")
    row("`docker exec` to one operation", p50[EXECUTED] / p50[LINK], best[EXECUTED] / best[LINK], "times")
    row("`docker exec` to one action", p50[EXECUTED] / p50[ACTION], best[EXECUTED] / best[ACTION], "times")
    if OTHER in samples:
        row("SWE-ReX's execute to `run true`", p50[OTHER] / p50[RAN], best[OTHER] / best[RAN], "times")


def started(python: str) -> subprocess.Popen[str]:
    """Start SWE-ReX's side under a Python that has it."""
    script = str(Path(__file__).with_name("swe_rex.py"))
    return subprocess.Popen([python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def main(swe_rex: str) -> None:
    """Measure everything and print it."""
    other = started(swe_rex) if swe_rex else None
    try:
        async with opened(POLICY) as it, opened(WITH_EXEC) as holding:
            writes = await durable_writes_of(it.gate)
            async with wire(it.folder, it.folder / "state") as sent:
                samples = await turns(it, holding, sent, writes, other)
            told(samples, writes)
            rate = await at_once(it.gate)
            print(f"actions, {AT_ONCE} at once: {rate:.0f} a second")
            speeds = await bulk(it.sandbox)
    finally:
        if other is not None:
            other.communicate()
    print(f"file bodies: {speeds[0]:.0f} MB/s written, {speeds[1]:.0f} MB/s read")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--swe-rex", default="", metavar="PYTHON", help="a Python that has `swe-rex`")
    asyncio.run(main(arguments.parse_args().swe_rex))
