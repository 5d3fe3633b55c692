"""Measure one action, gate and ledger included, beside `docker exec` through the same SDK, and its floors.

Run: `python -m benchmarks.round_trip`. It needs a Docker engine; everything is measured in this run, in a
real container, and cleaned up. Frames carry bodies in binary: the bulk rows move a file's bytes as they are.
"""

from __future__ import annotations

import asyncio
import os
import time
from statistics import median
from typing import TYPE_CHECKING

import docker

from benchmarks.opened import opened
from cli_tools.action import LineProposal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from cli_tools.gate import Gate
    from sandbox.session import Sandbox

POLICY = """\
version: 1
name: benchmark
grant: [files, exec]
files: {limits: {written_bytes: 512MiB}}
exec: {programs: any}
commands: {allow: ["files *", run]}
"""
ROUNDS = 300
EXECUTIONS = 30
AT_ONCE = 16
BULK_BYTES = 12 * 1024 * 1024
DURABLE_WRITES = 2  # an action's intent and its outcome
LINE = LineProposal(line="files read small.txt")


def durable_write(folder: Path) -> float:
    """Return the median time of appending 800 bytes and fdatasync, in milliseconds."""
    samples = []
    descriptor = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for _ in range(ROUNDS):
        start = time.perf_counter()
        os.write(descriptor, bytes(800))
        os.fdatasync(descriptor)
        samples.append(time.perf_counter() - start)
    os.close(descriptor)
    return median(samples) * 1000


async def timed(once: Callable[[], Awaitable[object]], rounds: int) -> float:
    """Return the median time of an awaited call, in milliseconds."""
    samples = []
    for _ in range(rounds):
        start = time.perf_counter()
        await once()
        samples.append(time.perf_counter() - start)
    return median(samples) * 1000


def docker_exec(container_id: str) -> float:
    """Return the median time of `docker exec true` through the SDK, in milliseconds."""
    client = docker.APIClient(version="auto")
    samples = []
    for _ in range(EXECUTIONS):
        start = time.perf_counter()
        client.exec_start(client.exec_create(container_id, ["true"])["Id"])
        samples.append(time.perf_counter() - start)
    client.close()
    return median(samples) * 1000


async def at_once(gate: Gate) -> float:
    """Return how many actions a second 16 callers get through the gate together."""

    async def caller() -> None:
        for _ in range(ROUNDS // 10):
            await gate.act(LINE)

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return AT_ONCE * (ROUNDS // 10) / (time.perf_counter() - start)


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


def row(name: str, floor: float, ours: float, ratio: float, unit: str) -> None:
    """Print one line of the table."""
    print(f"{name:<46}{floor:>9.2f}{ours:>10.2f} {unit:<9}{ratio:>7.1f}")


async def main() -> None:
    """Measure everything and print floor, ours and ratio."""
    async with opened(POLICY) as it:
        sandbox, gate = it.sandbox, it.gate
        write = durable_write(it.folder) * DURABLE_WRITES
        read: dict[str, object] = {"path": "small.txt", "offset": 0, "limit_bytes": 4096}
        link = await timed(lambda: sandbox.call("files.read", dict(read)), ROUNDS)  # type: ignore[arg-type]  # JSON values
        action = await timed(lambda: gate.act(LINE), ROUNDS)
        executed = await asyncio.to_thread(docker_exec, sandbox.container_id)
        rate = await at_once(gate)
        speeds = await bulk(sandbox)
    print(f"{'':<46}{'floor':>9}{'ours':>10} {'':<9}{'ratio':>7}")
    row("one operation over the link, p50", executed, link, executed / link, "ms")
    row("one action: gate and ledger too, p50", write, action, action / write, "ms")
    row("  over the durable writes that it needs", write, action - write, (action - write) / write, "ms")
    row("  `docker exec` through the SDK beside it, p50", executed, action, executed / action, "ms")
    row(f"actions, {AT_ONCE} at once", 1000 / write, rate, rate * write / 1000, "a second")
    print(f"{'file bodies, written and read':<46}{'':>9}{speeds[0]:>10.0f} and {speeds[1]:.0f} MB/s")


if __name__ == "__main__":
    asyncio.run(main())
