"""Whatever reads a session names the same entry as the first that may be bad."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from audit.follow import Follower
from audit.query import parse_filter, query_session
from audit.reader import BrokenEntry, SessionReader
from audit.verdict import Broken
from audit.verify import verify_session
from tests.audit import attacker
from tests.audit.samples import SESSION, Recorder

CHANGES: dict[str, Callable[[attacker.Lines], attacker.Lines]] = {
    "edit": attacker.edit,
    "delete": attacker.delete,
    "reorder": attacker.reorder,
    "insert": attacker.insert,
}


def named_by_readers(state: Path) -> dict[str, int]:
    """Return the place that each reader gives to what does not hold."""
    told: dict[str, Iterable[object]] = {
        "show": SessionReader(state, SESSION).entries(),
        "tail": Follower(state, SESSION).poll(),
        "query": query_session(state, SESSION, parse_filter("")),
    }
    return {
        name: next(e.seq for e in entries if isinstance(e, BrokenEntry)) for name, entries in told.items()
    }


@pytest.mark.parametrize("recomputed", [False, True], ids=["as it stood", "with the chain made anew"])
@pytest.mark.parametrize("change", CHANGES)
async def test_each_reader_names_the_entry_that_verify_names(
    recorder: Recorder, state: Path, change: str, *, recomputed: bool
) -> None:
    await recorder.whole(actions=100)
    attacker.change_session(state, CHANGES[change], recomputed=recomputed)

    integrity = verify_session(state, SESSION).integrity

    assert isinstance(integrity, Broken)
    assert named_by_readers(state) == dict.fromkeys(("show", "tail", "query"), integrity.first)
