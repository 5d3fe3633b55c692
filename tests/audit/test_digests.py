"""Whatever a log commits to is remembered in bounded memory, and the verdicts are the same."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some

from audit import digests
from audit.digests import Ascending, Digests, is_digest
from audit.errors import NoRoomError
from audit.fields import FileUse
from audit.host import HostLog
from audit.openings import commit
from audit.state import SessionFiles, StateFiles
from audit.verdict import Disclosed, Undisclosed
from audit.verify import verify_session
from audit.withhold import redact
from tests.audit.large_logs import LargeLog
from tests.audit.samples import SESSION, Recorder, Samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit.fields import Event

ROOT = Path(__file__).parents[2]


def digest_of(number: int) -> str:
    return sha256(b"%d" % number).hexdigest()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nearly nothing stay in memory."""
    monkeypatch.setattr(digests, "IN_MEMORY", 2)


@given(
    added=some.lists(some.integers(0, 9), max_size=30), bound=some.integers(1, 8), asked=some.integers(0, 9)
)
def test_digests_are_a_sorted_dictionary_wherever_they_are_kept(
    added: list[int], bound: int, asked: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "IN_MEMORY", bound)
        found, expected = Digests(), dict[str, int]()
        for place, number in enumerate(added):
            found.put(digest_of(number), place)
            expected[digest_of(number)] = place
            assert found.number_of(digest_of(asked)) == expected.get(digest_of(asked))

        assert list(found) == sorted(expected)
        assert {digest: found.number_of(digest) for digest in expected} == expected
        assert (digest_of(asked) in found) is (digest_of(asked) in expected)


@given(
    added=some.lists(some.integers(0, 9), max_size=30),
    bound=some.integers(1, 8),
    asked=some.lists(some.integers(0, 9)),
)
def test_who_asks_in_ascending_order_is_answered_as_who_asks_in_any(
    added: list[int], bound: int, asked: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "IN_MEMORY", bound)
        known = Digests()
        for place, number in enumerate(added):
            known.put(digest_of(number), place)

        sweep = Ascending(known)

        for digest in sorted(map(digest_of, asked)):
            assert sweep.number_of(bytes.fromhex(digest)) == known.number_of(digest)


@pytest.mark.parametrize("text", ["", "ab", "AB" * 32, "ab" * 33, f"{'ab' * 31} a", f"{'ab' * 32}\n", "../x"])
def test_what_is_no_digest_is_not_found(text: str) -> None:
    known = Digests()
    known.update(["ab" * 32])

    assert not is_digest(text)
    assert text not in known
    assert list(known) == ["ab" * 32]


async def told(recorder: Recorder, state: Path) -> SessionFiles:
    """Write a session that commits to much, some of it withheld, some moved out of its entry."""
    samples = Samples()
    async with recorder.journal() as journal:
        await journal.record(samples.opened(journal.commit("mend the tests")))
        for number in range(6):
            text = "x" * 50_000 if number == 3 else f"file {number}"
            await journal.record(samples.intended(number, text=text))
            await journal.record(samples.finished(number, journal.commit(f"output of {number}")))
        await journal.close(samples.closed())
    return StateFiles(state).session(SESSION)


@pytest.mark.usefixtures("few")
async def test_a_log_whose_digests_are_set_aside_gets_the_same_verdicts(
    recorder: Recorder, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, withheld, missing and changed: each is told of each commitment, as from memory."""
    files = await told(recorder, state)
    withheld = orjson.loads(files.openings.read_bytes().splitlines()[-1])["commitment"]
    with HostLog(state) as host:
        redact(host, SESSION, withheld, by="me", why="a name")
    whole = verify_session(state, SESSION)
    lines = files.openings.read_bytes().splitlines(keepends=True)
    spoilt = orjson.loads(lines[2]) | {"salt": "00" * 32}
    files.openings.write_bytes(b"".join([*lines[:1], orjson.dumps(spoilt) + b"\n", *lines[4:]]))
    broken = verify_session(state, SESSION)

    monkeypatch.undo()

    assert whole.disclosure == Disclosed(opened=len(lines), withheld=1, sealed_only=0)
    assert broken == verify_session(state, SESSION)
    gone = tuple(sorted(orjson.loads(lines[place])["commitment"] for place in (1, 3)))
    assert broken.disclosure == Undisclosed(missing=gone, changed=(spoilt["commitment"],))


@pytest.mark.usefixtures("few")
async def test_bodies_within_bodies_are_told_once_wherever_digests_are_kept(
    recorder: Recorder, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that was moved out commits to more; what an entry commits to as well is not told again."""
    files = tuple(FileUse(path=f"{number}/" + "x" * 90, access="read") for number in range(400))
    async with recorder.journal() as journal:
        both = journal.commit("both")
        for number, body in enumerate([both, both, *map(journal.commit, "abc")]):
            await journal.record(Samples().finished(number, body).model_copy(update={"files": files}))
        await journal.record(Samples().finished(9, both))
        await journal.close(Samples().closed())

    aside = verify_session(state, SESSION)
    monkeypatch.undo()

    assert aside.disclosure == Disclosed(opened=5 + 4, withheld=0, sealed_only=0)
    assert aside == verify_session(state, SESSION)


LIMITED = """
import resource, sys
from hashlib import sha256
from audit.digests import Digests
from audit.errors import NoRoomError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
known = Digests()
try:
    known.update(sha256(b"%d" % number).hexdigest() for number in range(100_000))
    print(sum(1 for _ in known))
except NoRoomError as error:
    print(error)
"""
NO_ROOM = (
    "what a long log commits to cannot be kept in a temporary file: {why}; "
    "hint: set `TMPDIR` to a folder with room"
)
VERIFYING = """
import sys
from pathlib import Path
from audit.verify import verify_session
print(verify_session(Path(sys.argv[1]), sys.argv[2]).disclosure)
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def outputs(count: int, kept: list[bytes]) -> Iterator[Event]:
    """Yield actions with bodies, and put into a list the lines that open these."""
    samples = Samples()
    for number in range(count):
        opening = commit(b"output of %d" % number, random=os.urandom)
        kept.append(opening.line())
        yield samples.finished(number, opening.commitment)


def committing(state: Path, count: int) -> Path:
    """Write a session that commits to so many bodies."""
    kept: list[bytes] = []
    LargeLog(state, SESSION).write(outputs(count, kept))
    StateFiles(state).session(SESSION).openings.write_bytes(b"".join(kept))
    return state


def verified_in_a_child(state: Path) -> tuple[str, int]:
    """Return what a child says of a session, and the most memory that it had at once, in MiB."""
    run = [sys.executable, "-c", VERIFYING, str(state), SESSION]
    found = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True, timeout=900)
    said, peak_kib = found.stdout.splitlines()
    return said, int(peak_kib) // 1024


@pytest.mark.parametrize(
    ("limit_bytes", "said"), [(2**30, "100000"), (2**16, NO_ROOM.format(why="disk I/O error"))]
)
def test_without_room_for_a_temporary_file_one_line_says_so(limit_bytes: int, said: str) -> None:
    run = [sys.executable, "-c", LIMITED, str(limit_bytes)]

    found = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)

    assert (found.stdout.strip(), found.stderr) == (said, "")


@pytest.mark.usefixtures("few")
async def test_without_room_there_is_no_verdict(
    recorder: Recorder, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with a temporary file says nothing of the log, neither good nor bad."""
    await told(recorder, state)

    def refuse(*_: object, **__: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", refuse)

    with pytest.raises(NoRoomError) as refusal:
        verify_session(state, SESSION)

    assert str(refusal.value) == NO_ROOM.format(why="unable to open database file")


SHORT, LONG = 20_000, 80_000
SPARE_MIB = 6


@pytest.mark.long
def test_four_times_the_commitments_are_verified_in_the_same_memory(tmp_path: Path) -> None:
    """Kept in memory, each takes some 300 bytes: 17 MiB between these two."""
    peaks = []
    for count in (SHORT, LONG):
        state = committing(tmp_path / str(count), count)
        said, peak = verified_in_a_child(state)
        assert said == f"{count} bodies there, 0 withheld and accounted for"
        peaks.append(peak)
        for path in StateFiles(state).session(SESSION).folder.iterdir():
            path.unlink()

    assert peaks[1] <= peaks[0] + SPARE_MIB, f"{peaks} MiB"
