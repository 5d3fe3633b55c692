"""Measure the way out beside its floors: bytes each way, requests, denials, many at once."""

# Run it with `python -m benchmarks.egress`; it prints floor, ours and ratio, and exits 1 when a gate does not
# hold. The floor is the same client speaking to the same server on loopback without us; nothing else is used.

import asyncio
import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from pathlib import Path
from socket import SHUT_RDWR, socketpair

from benchmarks.egress_ends import CHUNK, Server, Streams, direct, trusted, tunnel, with_tls
from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.events import Event
from sandbox.egress.gate import EgressGate
from sandbox.egress.rules import Limits, RuleSet
from tests.sandbox.egress.ground import make_authority, rule

MEBIBYTE = 1024 * 1024
BULK_BYTES = 96 * MEBIBYTE
TRIES = 3
"""Large transfers of each kind, of which the fastest is told."""
REQUESTS = 2000
AT_ONCE = 200
DENIALS = 300
SLOWEST_MB = 50.0
SLOWEST_DENIAL_US = 5000.0
LARGEST_GROWTH_BYTES = 24 * MEBIBYTE
LARGEST_FILES = 8
"""Descriptors that may be about to close when they are counted."""
AMPLE = Limits(sent_bytes=1 << 40, received_bytes=1 << 40, requests=1 << 30, connections=1024)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was measured.
        floor: The same work without us; in `unit`.
        ours: With us; in `unit`.
        unit: `us`, `MB/s`, `bytes` or `files`.
        holds: Whether the gate holds; None where there is none.
    """

    name: str
    floor: float
    ours: float
    unit: str
    holds: bool | None

    def ratio(self) -> float:
        """Return how many times the floor it is; above 1 is slower, whatever the unit."""
        if not self.floor or not self.ours:
            return 0.0
        return self.floor / self.ours if self.unit == "MB/s" else self.ours / self.floor


async def ignore(event: Event) -> None:
    """Keep nothing: what the ledger costs is measured by its own benchmark."""


async def download_mb(streams: Streams, port: int) -> float:
    """Return megabytes a second of a large answer."""
    reader, writer = streams
    start = time.perf_counter()
    writer.write(
        f"GET /ok/{BULK_BYTES} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode()
    )
    got = 0
    while data := await reader.read(len(CHUNK)):
        got += len(data)
    writer.transport.abort()
    if got < BULK_BYTES:
        raise SystemExit(f"{got} bytes of {BULK_BYTES} came")
    return got / 1e6 / (time.perf_counter() - start)


async def upload_mb(streams: Streams, port: int) -> float:
    """Return megabytes a second of a large body."""
    reader, writer = streams
    start = time.perf_counter()
    head = f"POST /ok/1 HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: {BULK_BYTES}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode())
    for _ in range(BULK_BYTES // len(CHUNK)):
        writer.write(CHUNK)
        await writer.drain()
    answer = await reader.read(4096)
    writer.transport.abort()
    if b" 200 " not in answer:
        raise SystemExit(f"not answered: {answer[:80]!r}")
    return BULK_BYTES / 1e6 / (time.perf_counter() - start)


def processor_seconds(gate: EgressGate) -> float:
    """Return the time that the gate's process has had of a processor, whatever else the machine did."""
    fields = Path(f"/proc/{gate.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def bulk_rows(folder: Path) -> list[Row]:
    """Measure large transfers, passed through and with TLS ended at the gate."""
    authority = make_authority(folder)
    server = Server(authority.server("localhost"))
    outside = ssl.create_default_context(cafile=authority.file)
    found = []
    passed = RuleSet(rules=(rule("localhost", server.port),), limits=AMPLE)
    ended = RuleSet(
        rules=(rule("localhost", server.port, methods=("GET", "POST"), paths=["/ok/**"]),), limits=AMPLE
    )
    for name, allowed in (("passed through", passed), ("TLS ended", ended)):
        async with EgressGate.start(allowed, journal=ignore, ca_file=authority.file, proxy=True) as gate:
            inside = trusted(gate, outside)
            for way, measure in (("in", download_mb), ("out", upload_mb)):
                pairs = []
                spent = processor_seconds(gate)
                for _ in range(TRIES):  # in turns, so that what else the machine does hits both
                    floor = await measure(await direct(server.port, outside), server.port)
                    streams = await with_tls(await tunnel(gate, server.port), inside)
                    pairs.append((floor, await measure(streams, server.port)))
                floor, ours = (max(column) for column in zip(*pairs, strict=True))
                own = TRIES * BULK_BYTES / 1e6 / (processor_seconds(gate) - spent)
                found.append(Row(f"{name}, {way}", floor, ours, "MB/s", ours >= SLOWEST_MB))
                found.append(Row("  for a second of its processor", floor, own, "MB/s", holds=None))
    return found


async def small_us(port: int) -> float:
    """Return microseconds of one small request without us."""
    start = time.perf_counter()
    reader, writer = await direct(port)
    writer.write(f"GET /2 HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
    await reader.read()
    writer.transport.abort()
    return (time.perf_counter() - start) * 1e6


async def request_us(gate: EgressGate, url: str) -> float:
    """Return microseconds of one small request through the gate, allowed or denied."""
    start = time.perf_counter()
    try:
        await gate.request("GET", url)
    except EgressDeniedError as denied:
        if denied.code != "host":
            raise
    return (time.perf_counter() - start) * 1e6


def resident_bytes(gate: EgressGate) -> int:
    """Return what the gate's process holds in memory."""
    status = Path(f"/proc/{gate.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def open_files(gate: EgressGate) -> int:
    """Return how many descriptors the gate's process and this one hold."""
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in (gate.pid, os.getpid()))


async def open_at_once_us(opened: Iterable[Awaitable[Streams]], port: int) -> float:
    """Return microseconds, for each of many connections, until all are open and each had an answer."""
    start = time.perf_counter()
    held = await asyncio.gather(*opened)
    for _, writer in held:
        writer.write(f"GET /ok/2 HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
    answers = await asyncio.gather(*(reader.read(64) for reader, _ in held))
    spent = (time.perf_counter() - start) * 1e6 / AT_ONCE
    for _, writer in held:
        writer.transport.abort()
    if sum(b" 200 " in answer for answer in answers) != AT_ONCE:
        raise SystemExit(f"not every one of {AT_ONCE} was answered")
    return spent


async def at_once_rows(folder: Path) -> list[Row]:
    """Measure many connections that are open at the same time, passed through and with TLS ended."""
    authority = make_authority(folder)
    server = Server(authority.server("localhost"))
    outside = ssl.create_default_context(cafile=authority.file)
    found = []
    passed = RuleSet(rules=(rule("localhost", server.port),), limits=AMPLE)
    ended = RuleSet(rules=(rule("localhost", server.port, paths=["/ok/**"]),), limits=AMPLE)
    for name, allowed in (("passed through", passed), ("TLS ended", ended)):
        async with EgressGate.start(allowed, journal=ignore, ca_file=authority.file, proxy=True) as gate:
            inside = trusted(gate, outside)

            async def one(gate: EgressGate = gate, inside: ssl.SSLContext = inside) -> Streams:
                return await with_tls(await tunnel(gate, server.port), inside)

            floor = await open_at_once_us((direct(server.port, outside) for _ in range(AT_ONCE)), server.port)
            ours = await open_at_once_us((one() for _ in range(AT_ONCE)), server.port)
            found.append(Row(f"{AT_ONCE} open at once, {name}, each", floor, ours, "us", holds=True))
    return found


async def small_rows() -> list[Row]:
    """Measure small requests, denials, memory and descriptors after many, and many at once."""
    server = Server(None)
    url = f"http://127.0.0.1:{server.port}/2"
    allowed = RuleSet(rules=(rule("127.0.0.1", server.port),), limits=AMPLE)
    async with EgressGate.start(allowed, journal=ignore) as gate:
        for _ in range(200):
            await request_us(gate, url)
        before, files_before = resident_bytes(gate), open_files(gate)
        floors = [await small_us(server.port) for _ in range(DENIALS)]
        ours = [await request_us(gate, url) for _ in range(REQUESTS)]
        after, files_after = resident_bytes(gate), open_files(gate)
        refused = [await request_us(gate, "https://nowhere.example/") for _ in range(DENIALS)]
        start = time.perf_counter()
        outcomes = await asyncio.gather(
            *(request_us(gate, url) for _ in range(AT_ONCE)), return_exceptions=True
        )
        together = (time.perf_counter() - start) * 1e6 / AT_ONCE
    answered = sum(isinstance(outcome, float) for outcome in outcomes)
    grown = after - before
    denial = statistics.median(refused)
    floor = statistics.median(floors)
    return [
        Row("one small request, p50", floor, statistics.median(ours), "us", holds=None),
        Row("a denial, p50", pipe_us(), denial, "us", denial < SLOWEST_DENIAL_US),
        Row(f"{AT_ONCE} at once, each", floor, together, "us", holds=answered == AT_ONCE),
        Row(
            f"memory after {REQUESTS} requests", before, before + grown, "bytes", grown < LARGEST_GROWTH_BYTES
        ),
        Row(
            f"descriptors after {REQUESTS}",
            files_before,
            files_after,
            "files",
            files_after - files_before < LARGEST_FILES,
        ),
    ]


ECHO = """
import socket, sys
far = socket.socket(fileno=int(sys.argv[1]))
while data := far.recv(64):
    far.send(data)
"""


def pipe_us() -> float:
    """Return microseconds of two bare round trips to another process: what is asked, and what is written."""
    near, far = socketpair()
    with near, far:
        echo = subprocess.Popen([sys.executable, "-c", ECHO, str(far.fileno())], pass_fds=(far.fileno(),))
        far.close()
        times = []
        for _ in range(DENIALS + 1):
            start = time.perf_counter()
            for _ in range(2):
                near.sendall(b"x")
                near.recv(64)
            times.append((time.perf_counter() - start) * 1e6)
        near.shutdown(SHUT_RDWR)
        echo.wait()
    return statistics.median(times[1:])  # the first waited for the process to start


def main() -> int:
    """Print the table; with ``--json``, the same for programs. Return 1 when a gate does not hold."""
    with tempfile.TemporaryDirectory(prefix="egress-benchmark-") as folder:
        at_once = asyncio.run(at_once_rows(Path(folder)))
        table = asyncio.run(bulk_rows(Path(folder))) + asyncio.run(small_rows()) + at_once
    if "--json" in sys.argv[1:]:
        fields = [
            {"name": row.name, "floor": row.floor, "ours": row.ours, "ratio": row.ratio()} for row in table
        ]
        sys.stdout.write(json.dumps(fields) + "\n")
    else:
        for row in table:
            verdict = {True: "holds", False: "DOES NOT HOLD", None: ""}[row.holds]
            sys.stdout.write(
                f"{row.name:40} floor {row.floor:14,.0f}  ours {row.ours:14,.0f} {row.unit:6} "
                f"ratio {row.ratio():6.2f}  {verdict}\n"
            )
    return 1 if any(row.holds is False for row in table) else 0


if __name__ == "__main__":
    raise SystemExit(main())
