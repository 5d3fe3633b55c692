"""Measure the guest against floors of the same run: a pipe's echo, a program's start, a copy through a pipe.

Run: `python -m benchmarks.round_trip_guest`. No engine is needed: the guest runs in namespaces of its own.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sandbox.guest import frames
from sandbox.inflow import Drawn
from sandbox.link import Link

ROUNDS = 500
BULK_BYTES = 64 << 20
ECHO = "import os\nwhile True:\n    data = os.read(0, 4096)\n    if not data: break\n    os.write(1, data)"
SINK = "import os\nwhile os.read(0, 65536): pass"


def milliseconds(samples: list[float]) -> float:
    """Return the median, in milliseconds."""
    return sorted(samples)[len(samples) // 2] * 1000


def echo_floor() -> float:
    """Return the round trip of 64 bytes to a process that only echoes."""
    samples = []
    there, to_write = os.pipe()
    to_read, back = os.pipe()
    with subprocess.Popen([sys.executable, "-c", ECHO], stdin=there, stdout=back):
        os.close(there)
        os.close(back)
        for _ in range(ROUNDS):
            start = time.perf_counter()
            os.write(to_write, bytes(64))
            os.read(to_read, 64)
            samples.append(time.perf_counter() - start)
        os.close(to_write)
    os.close(to_read)
    return milliseconds(samples)


def program_floor() -> float:
    """Return the time of a fork, an execve of `true` and a wait in this process."""
    samples = []
    for _ in range(ROUNDS // 5):
        start = time.perf_counter()
        subprocess.run(["/bin/true"], check=True)
        samples.append(time.perf_counter() - start)
    return milliseconds(samples)


def bulk_floor() -> float:
    """Return how many MB/s go through a pipe to a process that drops them."""
    data = bytes(65536)
    there, to_write = os.pipe()
    with subprocess.Popen([sys.executable, "-c", SINK], stdin=there) as process:
        os.close(there)
        os.write(to_write, data)
        start = time.perf_counter()
        for _ in range(BULK_BYTES // len(data)):
            os.write(to_write, data)
        os.close(to_write)
        process.wait()
        return BULK_BYTES / 1e6 / (time.perf_counter() - start)


async def call(link: Link, operation: str, arguments: dict[str, object], rounds: int) -> float:
    """Return the median time of one operation."""
    samples = []
    for _ in range(rounds):
        start = time.perf_counter()
        await link.call(operation, arguments)  # type: ignore[arg-type]
        samples.append(time.perf_counter() - start)
    return milliseconds(samples)


async def at_once(link: Link, callers: int) -> float:
    """Return how many reads a second `callers` get done together."""

    async def some() -> None:
        for _ in range(ROUNDS):
            await link.call("files.read", {"path": "file"})

    start = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(callers)))
    return callers * ROUNDS / (time.perf_counter() - start)


async def bulk(link: Link) -> tuple[float, float]:
    """Return the MB/s of writing and of reading one large file."""
    data = bytes(BULK_BYTES)
    start = time.perf_counter()
    await link.call("files.write", {"path": "bulk"}, body=data)
    middle = time.perf_counter()
    await link.call("files.read", {"path": "bulk", "limit_bytes": 1 << 30}, limit_bytes=1 << 30)
    end = time.perf_counter()
    return BULK_BYTES / 1e6 / (middle - start), BULK_BYTES / 1e6 / (end - middle)


def row(name: str, floor: float, ours: float, unit: str) -> None:
    """Print one line of the table."""
    print(f"{name:34} floor {floor:9.3f}  ours {ours:9.3f} {unit:5} ratio {ours / floor:6.2f}")


async def main(root: Path) -> None:
    """Measure everything once."""
    guest = Path(frames.__file__).with_name("__main__.py")
    namespaces = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net"]
    if os.geteuid() != 0:
        namespaces += ["--user", "--map-current-user"]
    command = [*namespaces, sys.executable, "-I", "-S", str(guest), "--exec", str(root)]
    process = await asyncio.create_subprocess_exec(*command, stdin=-1, stdout=-1)
    (root / "file").write_bytes(bytes(64))
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the guest was started without pipes")
    async with Link(Drawn(process.stdout), process.stdin) as link:
        start = time.perf_counter()
        await link.hello(secrets.token_hex(8), wall_seconds=600)
        print(f"guest up after {(time.perf_counter() - start) * 1000:.1f} ms")
        row(
            "files.read, 64 bytes",
            echo_floor(),
            await call(link, "files.read", {"path": "file"}, ROUNDS),
            "ms",
        )
        row("files.stat", echo_floor(), await call(link, "files.stat", {"path": "file"}, ROUNDS), "ms")
        spawn = {"argv": ["/bin/true"], "cwd": ".", "env": {}}
        row(
            "process.spawn, true",
            program_floor(),
            await call(link, "process.spawn", spawn, ROUNDS // 5),
            "ms",
        )
        one, many = await at_once(link, 1), await at_once(link, 16)
        row("reads a second, 16 callers to 1", one, many, "1/s")
        floor = bulk_floor()
        written, read = await bulk(link)
        row("files.write, 64 MiB", floor, written, "MB/s")
        row("files.read, 64 MiB", floor, read, "MB/s")
    await process.wait()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="pairlock-bench-") as folder:
        asyncio.run(main(Path(folder)))
