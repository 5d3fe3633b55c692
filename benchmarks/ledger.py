"""Measure the ledger beside its floors, in one run: an event, verifying, a query."""

# Run it with `python -m benchmarks.ledger [event] [verify] [query]`, all when none is named; it prints floor,
# ours and ratio, and exits 1 when a gate does not hold. Absolute times drift from machine to machine; the
# ratios are what is held. BENCHMARK_ENTRIES says how many entries are verified and asked.

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from audit.chain import Chain
from audit.disclosure import disclosure_of
from audit.index import read_index
from audit.journal import Journal, Registration
from audit.keys import session_key
from audit.note import open_checkpoint, sign
from audit.query import parse_filter, query_session
from audit.recover import walk_of
from audit.segments import Lines
from audit.state import StateFiles
from audit.verify import verify_session
from audit.walk import Walk
from benchmarks.ledger_floors import a_signature, hashed, least, opened
from benchmarks.ledger_logs import event, fill, fill_mixed, next_session, parts_of

EVENTS = 3000
BY_TURNS = 50
LINE_BYTES = 828
PER_TASK = 150
TASKS = 32
ENTRIES = int(os.environ.get("BENCHMARK_ENTRIES", "200000"))
SIGNATURES = 2000
LARGEST_RATIO = 1.6
MEASURED = ("event", "verify", "query")
FEWEST_VERIFIED = 250_000
QUERY_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was measured.
        floor: The same work without us; in `unit`.
        ours: With us; in `unit`.
        unit: `us` or `entries/s`.
        holds: Whether the gate holds; None where there is none.
    """

    name: str
    floor: float
    ours: float
    unit: str
    holds: bool | None

    def ratio(self) -> float:
        """Return how many times the floor it is; above 1 is slower, whatever the unit."""
        return self.ours / self.floor if self.unit == "us" else self.floor / self.ours


def raw_sync_us(descriptor: int, line: bytes) -> float:
    """Return what an append and fdatasync of that line takes, in microseconds."""
    begin = time.perf_counter()
    os.write(descriptor, line)
    os.fdatasync(descriptor)
    return (time.perf_counter() - begin) * 1e6


async def recorded_us(journal: Journal, number: int) -> float:
    """Return what recording one event alone takes, in microseconds."""
    fresh = event(number)
    begin = time.perf_counter()
    await journal.record(fresh)
    return (time.perf_counter() - begin) * 1e6


async def recorded(folder: Path) -> tuple[list[float], list[float], float]:
    """Return raw writes and events, each in microseconds, and how many events a second 32 tasks record.

    Both are measured by turns, a few dozen each time, so that whatever else the disk does falls on both.
    """
    raw, ours = [], []
    descriptor = os.open(folder / "raw", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    session = next_session()
    line = b"x" * LINE_BYTES
    async with Journal.create(folder / "state", session, registration=Registration(grant="none")) as journal:
        for start in range(0, EVENTS, BY_TURNS):
            raw += [raw_sync_us(descriptor, line) for _ in range(BY_TURNS)]
            ours += [await recorded_us(journal, start + number) for number in range(BY_TURNS)]

        async def task() -> None:
            for number in range(PER_TASK):
                await journal.record(event(number))

        begin = time.perf_counter()
        await asyncio.gather(*(task() for _ in range(TASKS)))
        together = TASKS * PER_TASK / (time.perf_counter() - begin)
    os.close(descriptor)
    return raw, ours, together


def walked(state: Path, session: str, parts: list[Path]) -> Walk:
    """Hold every line against all that binds it, as verifying does but for bodies; return the walk.

    Raises:
        BrokenLedgerError: When one does not hold.
    """
    walk = walk_of(session, read_index(StateFiles(state)).session(session))
    for block in Lines(parts).blocks():
        walk.feed(block)
    return walk


def spent() -> float:
    """Return the seconds of processor time of this process and of those that it has started and awaited."""
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system


def timed(work: Callable[[], object], clock: Callable[[], float] = spent) -> float:
    """Return how many seconds the work takes, at its best of three: by default of processor time."""
    best = float("inf")
    for _ in range(3):
        begin = clock()
        work()
        best = min(best, clock() - begin)
    return best


def a_seal() -> Callable[[], None]:
    """Return what checks a seal's note as verifying does: taken apart, signature checked, spelled again."""
    key, origin = session_key("0" * 12, 1), "pairlock/session/000000000000"
    note, public = sign(Chain.start(origin).checkpoint(origin).text(), [key]), key.verifier

    def check() -> None:
        open_checkpoint(note, public)

    return check


def often_us(work: Callable[[], None]) -> float:
    """Return the microseconds of processor time that the work takes, done many times."""

    def many() -> None:
        for _ in range(SIGNATURES):
            work()

    return timed(many) / SIGNATURES * 1e6


def mixed(state: Path) -> list[Row]:
    """Measure verifying entries of the kinds and sizes that sessions have: lines, then bodies."""
    session = asyncio.run(fill_mixed(state, ENTRIES // 4))
    parts, total, size = parts_of(state, session)
    floor, ours = timed(lambda: least(parts)), timed(lambda: walked(state, session, parts))
    table, walk = StateFiles(state).session(session), walked(state, session, parts)
    count = table.openings.read_bytes().count(b"\n")
    least_bodies = timed(lambda: opened(table.openings), time.process_time) / count * 1e6
    bodies = timed(lambda: disclosure_of(walk, table, set()), time.process_time) / count * 1e6
    return [
        Row(f"verify, {size} bytes, mixed", total / floor, total / ours, "entries/s", None),
        Row("a body behind a commitment", least_bodies, bodies, "us", None),
    ]


def written(folder: Path) -> list[Row]:
    """Measure an event, alone and among others.

    Args:
        folder: A folder on the disk to measure, empty.
    """
    raw, alone, together = asyncio.run(recorded(folder))
    floor, ours = statistics.median(raw), statistics.median(alone)
    return [
        Row(f"one event, {LINE_BYTES} bytes, p50", floor, ours, "us", ours <= LARGEST_RATIO * floor),
        Row(f"{TASKS} tasks", 1e6 / floor, together, "entries/s", None),
    ]


def verified(state: Path, session: str) -> list[Row]:
    """Measure verifying: a long session, one of every kind of entry, the signature of a seal."""
    parts, total, size = parts_of(state, session)
    floor = total / timed(lambda: least(parts))

    def verify() -> None:
        verify_session(state, session).check()

    a_core, all_cores = total / timed(verify), total / timed(verify, time.perf_counter)
    return [
        Row(f"verify, {size} bytes, a core's second", floor, a_core, "entries/s", a_core >= FEWEST_VERIFIED),
        Row(f"verify, {size} bytes, all cores", floor, all_cores, "entries/s", None),
        *mixed(state),
        Row("a seal's signature and note", often_us(a_signature()), often_us(a_seal()), "us", None),
    ]


def queried(state: Path, session: str) -> list[Row]:
    """Measure a query that finds nothing and so reads all."""
    parts, total, _ = parts_of(state, session)
    wanted = parse_filter("type=action.intended argv~nowhere")

    def ask() -> None:
        if list(query_session(state, session, wanted)):
            raise SystemExit("something was found that is not there")

    floor = total / timed(lambda: hashed(parts))
    a_core, all_cores = total / timed(ask), total / timed(ask, time.perf_counter)
    fast_enough = all_cores >= 1_000_000 / QUERY_SECONDS
    return [
        Row("query, a core's second", floor, a_core, "entries/s", None),
        Row("query, all cores", floor, all_cores, "entries/s", fast_enough),
    ]


def rows(folder: Path, measured: AbstractSet[str]) -> list[Row]:
    """Measure what is asked for.

    Args:
        folder: A folder on the disk to measure, empty.
        measured: Of `MEASURED`, what is asked for.
    """
    found, state = [], folder / "state"
    if "event" in measured:
        found += written(folder)
    if measured & {"verify", "query"}:
        session = asyncio.run(fill(state, ENTRIES))
        found += verified(state, session) if "verify" in measured else []
        found += queried(state, session) if "query" in measured else []
    return found


def main() -> int:
    """Print the table; with ``--json``, the same for programs. Return 1 when a gate does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", nargs="*", choices=[*MEASURED, []], help="all when none is named")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ledger-benchmark-", dir=os.environ.get("BENCHMARK_FOLDER", ".")))
    try:
        table = rows(folder, set(options.measured or MEASURED))
    finally:
        shutil.rmtree(folder)
    if options.json:
        fields = [
            {"name": row.name, "floor": row.floor, "ours": row.ours, "ratio": row.ratio()} for row in table
        ]
        sys.stdout.write(json.dumps(fields) + "\n")
    else:
        for row in table:
            verdict = {True: "holds", False: "DOES NOT HOLD", None: ""}[row.holds]
            sys.stdout.write(
                f"{row.name:34} floor {row.floor:12,.0f}  ours {row.ours:12,.0f} {row.unit:10} "
                f"ratio {row.ratio():5.2f}  {verdict}\n"
            )
    return 1 if any(row.holds is False for row in table) else 0


if __name__ == "__main__":
    raise SystemExit(main())
