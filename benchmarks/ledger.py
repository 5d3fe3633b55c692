"""Measure the ledger beside its floors, in one run: an event, verifying, a query."""

# Run it with `python -m benchmarks.ledger`; it prints floor, ours and ratio, and exits 1 when a gate does not
# hold. Absolute times drift from machine to machine; the ratios are what is held. BENCHMARK_ENTRIES says how
# many entries are verified and asked.

import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.chain import Chain
from audit.event import ActionFinished, ActionIntended, ModelAnswered, ModelAsked
from audit.fields import Event, Reason, Rule, ToolCall
from audit.index import read_index
from audit.journal import Journal, Registration
from audit.keys import session_key
from audit.note import open_checkpoint, sign
from audit.query import parse_filter, query_session
from audit.recover import walk_of
from audit.segments import Lines
from audit.state import StateFiles
from audit.verify import verify_session

EVENTS = 3000
BY_TURNS = 50
LINE_BYTES = 828
PER_TASK = 150
TASKS = 32
ENTRIES = int(os.environ.get("BENCHMARK_ENTRIES", "200000"))
SEALED_BYTES = 160
SIGNATURES = 2000
LARGEST_RATIO = 1.6
FEWEST_VERIFIED = 250_000
QUERY_SECONDS = 3.0
_SESSIONS = iter(f"{number:012d}" for number in range(100))


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


def event(number: int) -> ActionIntended:
    """Return an event whose line has about 800 bytes."""
    return ActionIntended(
        action=f"0123456789ab/{number}",
        argv=("files", "write", "src/app/module/deep/down/file.py", "--text", "x" * 150),
        command="files write",
        arguments={"path": "src/app/module/deep/down/file.py", "text": "x" * 150},
        verdict="allowed",
        reasons=(Reason(code="rule", message="a rule allows it", rule=Rule(origin="p", line=9, column=7)),),
    )


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
    session = next(_SESSIONS)
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


def turn(journal: Journal, number: int) -> list[Event]:
    """Return what one turn of a session leaves: the model asked and answering, an action, its outcome."""
    action, path = f"0123456789ab/{number}", f"src/app/module{number % 97}/file.py"
    call = ToolCall(call=f"call_{number}", name="files", arguments='{"command":"read","path":"src/app.py"}')
    return [
        ModelAsked(
            turn=number,
            backend="anthropic",
            model="a-model-of-today",
            messages=journal.commit(b"%d" % number, keep=False),
            message_count=2 * number,
        ),
        ModelAnswered(
            turn=number,
            backend="anthropic",
            model="a-model-of-today",
            text=journal.commit(b"I read the file."),
            tool_calls=(call,),
            input_tokens=9000 + number,
            output_tokens=120,
            cached_tokens=8000,
            duration_ms=900,
        ),
        ActionIntended(
            action=action,
            argv=("files", "read", path),
            command="files read",
            arguments={"path": path, "limit": 2000},
            verdict="allowed",
            turn=number,
            call=call.call,
        ),
        ActionFinished(
            action=action,
            outcome="ok",
            exit_code=0,
            duration_ms=12,
            output_bytes=2000,
            body=journal.commit(b"x" * 200),
        ),
    ]


async def fill_mixed(state: Path, entries: int) -> str:
    """Write a session of about that many entries as sessions have them, and return its id."""
    session = next(_SESSIONS)
    async with Journal.create(state, session, registration=Registration(grant="none")) as journal:
        for number in range(entries // 4):
            for one in turn(journal, number):
                await journal.record_lazily(one)
    return session


def parts_of(state: Path, session: str) -> tuple[list[Path], int, int]:
    """Return a session's files, its entries, and the bytes of an entry."""
    parts = sorted((state / "sessions" / session).glob("events.jsonl*"))
    total = sum(part.read_bytes().count(b"\n") for part in parts)
    return parts, total, sum(part.stat().st_size for part in parts) // total


def walked(state: Path, session: str, parts: list[Path]) -> None:
    """Hold every line against all that binds it, as verifying does, without looking for bodies.

    Raises:
        BrokenLedgerError: When one does not hold.
    """
    walk = walk_of(session, read_index(StateFiles(state)).session(session))
    for block in Lines(parts).blocks():
        walk.feed(block)


async def fill(state: Path, entries: int) -> str:
    """Write a session of that many entries and return its id."""
    session = next(_SESSIONS)
    one = event(1)
    async with Journal.create(state, session, registration=Registration(grant="none")) as journal:
        for start in range(0, entries, 2000):
            for _ in range(min(2000, entries - start) - 1):
                await journal.record_lazily(one)
            await journal.record(one)
    return session


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


def least(paths: list[Path]) -> None:
    """Do what no verifier can do without: hash and decode lines, hash nodes, check the seals' signatures."""
    check = a_signature()
    for line in (line for path in paths for line in path.read_bytes().splitlines()):
        leaf = sha256(b"\0" + line).digest()
        fields = orjson.loads(line)
        sha256(b"\1" + leaf + leaf).digest()
        if fields["type"] == "log.sealed":
            check()


def a_signature() -> Callable[[], None]:
    """Return what checks one signature over as many bytes as a seal signs."""
    key = Ed25519PrivateKey.generate()
    text = b"x" * SEALED_BYTES
    public, signature = key.public_key(), key.sign(text)
    return lambda: public.verify(signature, text)


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


def hashed(paths: list[Path]) -> None:
    """Do what no query that verifies can do without: hash each line."""
    for line in (line for path in paths for line in path.read_bytes().splitlines()):
        sha256(b"\0" + line).digest()


def mixed(state: Path) -> Row:
    """Measure verifying the lines of a session with entries of the kinds and sizes that sessions have."""
    session = asyncio.run(fill_mixed(state, ENTRIES // 4))
    parts, total, size = parts_of(state, session)
    floor, ours = timed(lambda: least(parts)), timed(lambda: walked(state, session, parts))
    return Row(f"verify, {size} bytes, mixed", total / floor, total / ours, "entries/s", None)


def rows(folder: Path) -> list[Row]:
    """Measure everything.

    Args:
        folder: A folder on the disk to measure, empty.
    """
    state = folder / "state"
    raw, alone, together = asyncio.run(recorded(folder))
    line = (state / "sessions" / "000000000000" / "events.jsonl").read_bytes().splitlines()[5] + b"\n"
    floor, ours = statistics.median(raw), statistics.median(alone)
    found = [
        Row(f"one event, {len(line)} bytes, p50", floor, ours, "us", ours <= LARGEST_RATIO * floor),
        Row(f"{TASKS} tasks", 1e6 / floor, together, "entries/s", None),
    ]
    session = asyncio.run(fill(state, ENTRIES))
    parts, total, size = parts_of(state, session)
    floor = total / timed(lambda: least(parts))
    verified = total / timed(lambda: verify_session(state, session).check())
    fast_enough = verified >= FEWEST_VERIFIED
    found.append(Row(f"verify, {size} bytes, a core's second", floor, verified, "entries/s", fast_enough))
    found.append(mixed(state))
    found.append(Row("a seal's signature and note", often_us(a_signature()), often_us(a_seal()), "us", None))
    wanted = parse_filter("type=action.intended argv~nowhere")

    def ask() -> None:
        if list(query_session(state, session, wanted)):
            raise SystemExit("something was found that is not there")

    floor = total / timed(lambda: hashed(parts))
    found.append(Row("query, a core's second", floor, total / timed(ask), "entries/s", None))
    asked = total / timed(ask, time.perf_counter)
    found.append(Row("query, all cores", floor, asked, "entries/s", asked >= 1_000_000 / QUERY_SECONDS))
    return found


def main() -> int:
    """Print the table; with ``--json``, the same for programs. Return 1 when a gate does not hold."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-benchmark-", dir=os.environ.get("BENCHMARK_FOLDER", ".")))
    try:
        table = rows(folder)
    finally:
        shutil.rmtree(folder)
    if "--json" in sys.argv[1:]:
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
