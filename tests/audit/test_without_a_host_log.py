"""A session whose host's log is gone is held to its own seals, and said to be no more than that."""

from pathlib import Path

import pytest

from audit.errors import UnknownSessionError
from audit.query import parse_filter, query_session
from audit.reader import BrokenEntry
from audit.verdict import (
    Broken,
    Forged,
    Unsigned,
)
from audit.verify import verify_session
from tests.audit import attacker
from tests.audit.forger import ORIGIN, OTHER, Forger
from tests.audit.samples import SESSION, Recorder, Samples


@pytest.fixture
async def alone(recorder: Recorder, state: Path) -> Forger:
    """Return a forger at a session of which no host's log knows: a file that has to hold by itself."""
    await recorder.whole(actions=5, close=False)
    for name in ("ledger.jsonl", "checkpoint"):
        (state / name).unlink()
    return Forger(state)


def test_without_a_host_log_a_session_is_unsigned_and_still_held_to_its_own_seals(
    alone: Forger, state: Path, samples: Samples
) -> None:
    found = verify_session(state, SESSION)
    assert (found.faults(), found.authenticity) == ({}, Unsigned("the host's log does not know this session"))
    alone.add(alone.recovered())
    alone.add(samples.intended(7))
    alone.add(alone.seal())
    alone.write()
    assert verify_session(state, SESSION).faults() == {}

    alone.add(samples.intended(8))
    alone.add(alone.seal(epoch=1))
    alone.write()

    assert isinstance(verify_session(state, SESSION).integrity, Broken)


def test_without_a_host_log_an_epoch_still_follows_the_one_before(alone: Forger, state: Path) -> None:
    alone.add(alone.recovered(epoch=3))
    alone.write()

    found = verify_session(state, SESSION).integrity

    assert isinstance(found, Broken)
    assert found.why == "epoch 3 does not follow epoch 1"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"session": OTHER}, f"it belongs to session `{OTHER}`"),
        ({"vkey": "nonsense"}, "a key is spelled `name+id+base64`"),
        ({"epoch": "2"}, "`session.recovered` is malformed or out of place"),
    ],
)
def test_without_a_host_log_a_recovery_still_has_to_make_sense(
    alone: Forger, state: Path, change: dict[str, object], why: str
) -> None:
    alone.add(alone.recovered().model_copy(update=change))
    alone.write()

    found = verify_session(state, SESSION).integrity

    assert isinstance(found, Broken)
    assert found.why.startswith(why)


def test_with_a_pinned_key_a_missing_host_log_is_a_fault(alone: Forger, state: Path) -> None:
    found = verify_session(state, SESSION, pinned_vkey=str(alone.key.verifier))

    assert found.authenticity == Forged("there is no host's log")


def test_without_a_host_log_a_chain_computed_anew_does_not_fit_its_seal(alone: Forger, state: Path) -> None:
    lines = [attacker.edited(line) if place == 4 else line for place, line in enumerate(alone.lines)]
    attacker.write_lines(alone.path, attacker.recompute(lines, ORIGIN))

    found = verify_session(state, SESSION).integrity
    asked = list(query_session(state, SESSION, parse_filter("type=nothing")))

    assert found == Broken(0, 12, "the seal signs another log", 0)
    assert [type(one) for one in asked] == [BrokenEntry]


def test_a_session_that_neither_a_file_nor_the_host_log_knows_is_an_error_and_no_verdict(
    alone: Forger, state: Path
) -> None:
    alone.write()
    assert verify_session(state, SESSION).faults() == {}

    with pytest.raises(UnknownSessionError, match=f"^session `{OTHER}` has no ledger$"):
        verify_session(state, OTHER)
