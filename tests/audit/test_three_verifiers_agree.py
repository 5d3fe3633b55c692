"""Our verifier, a bundle's and the one written from the documents: a change is a fault to all or to none."""

import asyncio
import contextlib
import io
import os
import random
import re
import shutil
import sys
from functools import lru_cache
from pathlib import Path

import pytest

from audit import standalone
from audit.chain import Chain, leaf_hash
from audit.errors import AuditError
from audit.keys import host_key
from audit.note import sign
from audit.recover import session_origin
from audit.state import StateFiles
from audit.verify import verify_all
from tests.audit import third_party
from tests.audit.samples import SESSION, Recorder, Samples

OTHER = "zzzzzzzzzzzz"
FILES = (f"sessions/{SESSION}/events.jsonl", f"sessions/{OTHER}/events.jsonl", "ledger.jsonl", "checkpoint")
FEW, MANY = 60, int(os.environ.get("TAMPERINGS", "3000"))
_PLACE = re.compile(rb'^\{"seq":\d*,"prev":"[0-9a-f]*",')


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state of two sessions, one of which has not recorded its end."""
    state = tmp_path_factory.mktemp("agree") / "state"
    asyncio.run(Recorder(state).whole(SESSION, actions=34))
    asyncio.run(Recorder(state).whole(OTHER, actions=3, close=False))
    return state


@pytest.fixture(scope="module")
def remembered() -> object:
    """Check each signature once: the single file takes some milliseconds for each."""
    patch = pytest.MonkeyPatch()
    patch.setattr(standalone, "check_signature", lru_cache(maxsize=None)(standalone.check_signature))
    yield
    patch.undo()


def chained_anew(lines: list[bytes], origin: str, start: int) -> list[bytes]:
    """Return lines that follow each other from a place on: all that one can do without a key."""
    chain, fitted = Chain.start(origin), []
    for seq, line in enumerate(lines):
        rest = _PLACE.sub(b"{", line) if seq >= start else b""
        fitted.append(chain.add(rest) if rest.startswith(b"{") else line)
        if not rest.startswith(b"{"):
            chain.advance(leaf_hash(line))
    return fitted


def changed(raw: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """Return a file's bytes after one change, as somebody with write access may make it."""
    lines = raw.split(b"\n")[:-1]
    place, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(8):
        case 0:
            at = chance.randrange(len(raw))
            return raw[:at] + bytes([raw[at] ^ 1 << chance.randrange(8)]) + raw[at + 1 :]
        case 1:
            return raw[: chance.randrange(len(raw))]
        case 2:
            lines[place], lines[other] = lines[other], lines[place]
        case 3:
            del lines[place : place + chance.randrange(1, 9)]
        case 4:
            lines.insert(place, chance.choice(others))
        case 5:
            return raw + chance.choice([b"{", b"\0", b"\n", lines[-1] + b"\n", b"{}\n", raw])
        case 6:
            lines[place] = re.sub(rb"[0-9]", b"%d" % chance.randrange(10), lines[place], count=90)
        case _:
            lines = lines[: place + 1]
    return b"".join(line + b"\n" for line in lines)


def tamper(state: Path, whole: Path, chance: random.Random) -> str:
    """Change one file, maybe chain it anew, maybe sign the host's log with its key; say what was done."""
    name = chance.choice(FILES)
    others = [(whole / each).read_bytes().split(b"\n")[1] for each in FILES[:3]]
    raw, how = changed((whole / name).read_bytes(), chance, others), chance.choice(["", "chained", "signed"])
    origin = next(iter(_origin(whole, name)), "")
    if how and origin:
        raw = b"".join(line + b"\n" for line in chained_anew(raw.split(b"\n")[:-1], origin, 0))
    (state / name).write_bytes(raw)
    if how == "signed" and name == "ledger.jsonl":
        sign_anew(state, origin, raw.split(b"\n")[:-1])
    return f"{name} {how}"


def _origin(whole: Path, name: str) -> list[str]:
    if name.startswith("sessions/"):
        return [session_origin(name.split("/")[1])]
    return [_host_origin(whole)] if name == "ledger.jsonl" else []


def _host_origin(whole: Path) -> str:
    return (whole / "checkpoint").read_text().split("\n")[0]


def sign_anew(state: Path, origin: str, lines: list[bytes]) -> None:
    """Sign a host's log as it now is, as who holds the key after the fact can."""
    chain = Chain.start(origin)
    for line in lines:
        chain.advance(leaf_hash(line))
    note = sign(chain.checkpoint(origin).text(), [host_key(StateFiles(state))])
    (state / "checkpoint").write_text(note)


def ours_finds(state: Path, key: str) -> bool:
    try:
        return any(set(found.faults()) - {"disclosure"} for found in verify_all(state, pinned_vkey=key))
    except AuditError:
        return True


def single_file_finds(state: Path, key: str) -> bool:
    said, before = io.StringIO(), sys.argv
    sys.argv = ["verify.py", str(state), "--key", key]
    try:
        with contextlib.redirect_stdout(said):
            return standalone.main() == 1
    finally:
        sys.argv = before


def documents_find(state: Path, key: str) -> bool:
    try:
        return third_party.faults(state, key) != []
    except Exception:  # noqa: BLE001 - it is short: what it cannot read, it does not take
        return True


def require_agreement(whole: Path, state: Path, times: int, seed: int) -> None:
    chance, key = random.Random(seed), (whole / "host.vkey").read_text().strip()  # noqa: S311 - the same each time
    shutil.copytree(whole, state)
    assert not any(finds(state, key) for finds in (ours_finds, single_file_finds, documents_find))
    good = 0
    for number in range(times):
        what = tamper(state, whole, chance)

        found = (ours_finds(state, key), single_file_finds(state, key), documents_find(state, key))

        if what == "ledger.jsonl signed":  # who holds the key may spell nonsense: ours alone knows the schema
            assert found[0] or not any(found), (number, what, found)
        else:
            assert len(set(found)) == 1, (number, what, found)
        good += not found[0]
        for name in FILES:
            shutil.copyfile(whole / name, state / name)
    assert good < times // 4


async def write_in_files(state: Path) -> list[Path]:
    """Write a session that has not ended in several files, and return them, oldest first."""
    async with Recorder(state).journal(segment_bytes=4000) as journal:
        for number in range(150):
            await journal.record(Samples().intended(number))
    return [path for _, path in StateFiles(state).session(SESSION).segments()]


@pytest.mark.parametrize(("place", "bad"), [(0, True), (1, True), (-1, False)])
async def test_only_the_last_file_of_a_log_may_end_in_the_middle_of_a_line(
    tmp_path: Path, place: int, *, bad: bool
) -> None:
    """The one written from the documents reads a log's first file only, and has no say."""
    state = tmp_path / "state"
    files, key = await write_in_files(state), (state / "host.vkey").read_text().strip()
    assert len(files) > 2
    assert (ours_finds(state, key), single_file_finds(state, key)) == (False, False)

    with files[place].open("ab") as file:
        file.write(b"{")

    assert (ours_finds(state, key), single_file_finds(state, key)) == (bad, bad)


@pytest.mark.usefixtures("remembered")
def test_three_verifiers_agree_on_some_changes(whole: Path, tmp_path: Path) -> None:
    require_agreement(whole, tmp_path / "state", FEW, 5)


@pytest.mark.long
@pytest.mark.usefixtures("remembered")
def test_three_verifiers_agree_on_three_thousand_changes(whole: Path, tmp_path: Path) -> None:
    require_agreement(whole, tmp_path / "state", MANY, 20260131)
