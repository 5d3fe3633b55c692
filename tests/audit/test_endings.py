"""A list of sessions reads their ends: it says what a whole reading says of them, and claims no more."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent_runner import listing
from agent_runner.listing import listed, status_of
from audit.ending import last_entry
from audit.index import HostIndex, read_index
from audit.journal import Journal
from audit.reader import BrokenEntry
from audit.state import StateFiles
from audit.verify import verify_session
from tests.audit import attacker
from tests.audit.forger import Forger
from tests.audit.samples import SESSION, Recorder, Samples

Attack = Callable[[Path], None]


def log_of(state: Path) -> Path:
    return state / "sessions" / SESSION / "events.jsonl"


def change(changed: Callable[[attacker.Lines], attacker.Lines]) -> Attack:
    return lambda state: attacker.write_lines(log_of(state), changed(attacker.read_lines(log_of(state))))


def torn(state: Path) -> None:
    with log_of(state).open("ab") as file:
        file.write(b'{"seq"')


def linked(state: Path) -> None:
    log_of(state).rename(state / "elsewhere")
    log_of(state).symlink_to(state / "elsewhere")


def written_on(state: Path) -> None:
    forger = Forger(state)
    forger.add(Samples().intended(99))
    forger.write()


AT_THE_END: dict[str, Attack] = {
    "cut": change(lambda lines: lines[:-1]),
    "cut by two": change(lambda lines: lines[:-2]),
    "the end edited": change(lambda lines: [*lines[:-2], lines[-2].replace(b"done", b"lost"), lines[-1]]),
    "the seal edited": change(lambda lines: [*lines[:-1], lines[-1].replace(b'"v":1', b'"v":2')]),
    "swapped": change(lambda lines: [*lines[:-2], lines[-1], lines[-2]]),
    "doubled": change(lambda lines: [*lines, lines[-1]]),
    "not json": change(lambda lines: [*lines[:-1], b"{"]),
    "a line behind": change(lambda lines: [*lines, b"{}"]),
    "torn": torn,
    "written on": written_on,
    "emptied": change(lambda _: []),
    "a link": linked,
}


@pytest.mark.parametrize("name", AT_THE_END)
async def test_what_was_done_to_an_end_is_seen_in_the_list(
    recorder: Recorder, state: Path, name: str
) -> None:
    await recorder.whole(actions=5)
    assert [row.status for row in listed(state)] == ["done"]

    AT_THE_END[name](state)

    assert [row.status for row in listed(state)] == ["broken"]
    assert status_of(state, SESSION) == "broken"


async def test_a_list_says_of_untouched_sessions_what_a_whole_reading_says(
    recorder: Recorder, state: Path
) -> None:
    await recorder.whole(SESSION, actions=70)
    await recorder.whole("zzzzzzzzzzzz", actions=3, close=False)

    assert [row.status for row in listed(state)] == ["done", "interrupted"]
    assert [status_of(state, row.session) for row in listed(state)] == ["done", "interrupted"]


def listed_since(before: HostIndex, state: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what is listed where the host's log was read at an earlier moment, the first time."""
    earlier = [before]
    monkeypatch.setattr(listing, "read_index", lambda files: earlier.pop() if earlier else read_index(files))
    return [row.status for row in listed(state)]


@pytest.mark.parametrize(("closed", "status"), [(True, "done"), (False, "interrupted")])
async def test_a_session_taken_up_again_since_the_hosts_log_was_read_is_not_called_broken(
    recorder: Recorder, state: Path, monkeypatch: pytest.MonkeyPatch, *, closed: bool, status: str
) -> None:
    await recorder.whole(actions=5)
    before = read_index(StateFiles(state))
    async with Journal.reopen(state, SESSION) as journal:
        await journal.record(Samples().intended(10))
        if closed:
            await journal.close(Samples().closed())

    assert status_of(state, SESSION, index=before) == status
    assert listed_since(before, state, monkeypatch) == [status]


async def test_an_end_that_was_changed_is_broken_however_the_hosts_log_has_grown_since(
    recorder: Recorder, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await recorder.whole(actions=5)
    before = read_index(StateFiles(state))
    await recorder.whole("zzzzzzzzzzzz", actions=1)
    AT_THE_END["a line behind"](state)

    assert status_of(state, SESSION, index=before) == "broken"
    assert listed_since(before, state, monkeypatch) == ["broken"]


async def test_an_end_that_the_host_does_not_vouch_for_is_read_whole(recorder: Recorder, state: Path) -> None:
    """Who forges an end, and a seal behind it, where none was recorded is found as by `verify`."""
    await recorder.whole(actions=5, close=False)
    forger = Forger(state)
    forger.add(Samples().closed())
    forger.add(forger.seal(epoch=1))
    forger.write()

    assert [row.status for row in listed(state)] == ["broken"]


async def test_what_stands_before_the_end_is_left_to_verify(recorder: Recorder, state: Path) -> None:
    """The list claims nothing of what it has not read; whatever reads the session does."""
    await recorder.whole(actions=300)
    attacker.change_session(state, attacker.edit, recomputed=False)

    assert [row.status for row in listed(state)] == ["done"]
    assert status_of(state, SESSION) == "broken"
    assert "integrity" in verify_session(state, SESSION).faults()


async def test_an_end_of_another_session_is_not_this_ones(recorder: Recorder, state: Path) -> None:
    await recorder.whole(SESSION, actions=5)
    await recorder.whole("zzzzzzzzzzzz", actions=5)
    log_of(state).write_bytes((state / "sessions" / "zzzzzzzzzzzz" / "events.jsonl").read_bytes())

    found = last_entry(state, SESSION, read_index(StateFiles(state)))

    assert isinstance(found, BrokenEntry)
    assert found.why == "it is not what the host's log has sealed"
