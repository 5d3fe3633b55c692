"""A seal, or a checkpoint kept elsewhere, that no number can be read from is a fault like any other."""

import base64
import contextlib
import io
import sys
from pathlib import Path

import pytest

from audit import standalone
from audit.chain import Chain
from audit.errors import MalformedLineError
from audit.event import LogOpened, LogSealed
from audit.keys import host_key
from audit.note import sign
from audit.query import parse_filter, query_session
from audit.reader import BrokenEntry
from audit.recover import session_origin
from audit.state import StateFiles
from audit.verdict import Broken
from audit.verify import verify_all, verify_session
from tests.audit import third_party
from tests.audit.forger import OTHER, Forger, host_key_of
from tests.audit.samples import SESSION, Recorder

ROOT = base64.b64encode(b"r" * 32).decode()
BODIES = {
    "size": f"{session_origin(SESSION)}\n{'9' * 5000}\n{ROOT}\nhead 00\n",
    "root": f"{session_origin(SESSION)}\n3\n{'é' * 44}\nhead 00\n",
}

pytestmark = pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)


def single_file_says(state: Path, *more: str) -> list[str]:
    said, before = io.StringIO(), sys.argv
    sys.argv = ["verify.py", str(state), "--key", host_key_of(state).strip(), *more]
    try:
        with contextlib.redirect_stdout(said):
            assert standalone.main() == 1
    finally:
        sys.argv = before
    return said.getvalue().splitlines()


async def test_such_a_seal_is_where_a_query_ends(recorder: Recorder, state: Path, body: str) -> None:
    await recorder.whole(actions=3, close=False)
    forger = Forger(state)
    place = len(forger.lines)
    forger.add(LogSealed(epoch=1, note=sign(body, [forger.key])))
    forger.write()

    *good, last = query_session(state, SESSION, parse_filter(""))

    assert isinstance(last, BrokenEntry)
    assert "the seal does not hold: not signed by" in last.why
    assert [entry.seq for entry in good] == list(range(place))


async def test_such_a_seal_of_a_stray_session_is_told_of_that_session(
    recorder: Recorder, state: Path, body: str
) -> None:
    """Whoever plants a session signs it with a key of their own, so that the note is opened and then read."""
    await recorder.whole(actions=3)
    (state / "sessions" / OTHER).mkdir()
    forger = Forger(state)
    forger.path = state / "sessions" / OTHER / "events.jsonl"
    forger.chain, forger.lines = Chain.start(session_origin(OTHER)), []
    vkey = str(forger.key.verifier)
    forger.add(LogOpened(session=OTHER, epoch=1, vkey=vkey, writer="", reserve_bytes=0))
    forger.add(LogSealed(epoch=1, note=sign(body, [forger.key])))
    forger.write()

    found = {one.log: one for one in verify_all(state)}

    integrity = found[OTHER].integrity
    assert isinstance(integrity, Broken)
    assert integrity.why.startswith("the seal does not hold: ")
    assert found[SESSION].faults() == {}
    assert single_file_says(state)[-1] == f"{OTHER}: BROKEN at entry 0: the seal at entry 1 does not hold"
    assert (
        third_party.faults(state, host_key_of(state))[0]
        == f"{OTHER}: entry 0 is out of place, or has a key that is not registered"
    )


async def test_such_a_checkpoint_kept_elsewhere_is_refused(
    recorder: Recorder, state: Path, tmp_path: Path, body: str
) -> None:
    await recorder.whole(actions=3)
    elsewhere = tmp_path / "elsewhere"
    note = sign(body, [host_key(StateFiles(state))])
    elsewhere.write_text(note)

    with pytest.raises(MalformedLineError, match=r"checkpoint"):
        verify_session(state, SESSION, against=note)

    assert single_file_says(state, "--against", str(elsewhere))[0].startswith("host: BROKEN: ")
    assert "the checkpoint kept elsewhere does not fit" in third_party.faults(
        state, host_key_of(state), anchor=note
    )
