"""Whatever reads the log verifies it; a query finds what is there, and nothing hides from it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit import search
from audit.chain import Entry
from audit.compare import compare
from audit.errors import BadFilterError, BrokenLedgerError, UnknownSessionError
from audit.event import ActionIntended, SessionOpened
from audit.host import HostLog
from audit.index import read_index
from audit.keys import redaction_key
from audit.query import Found, parse_filter, query, query_session, with_secret
from audit.reader import BrokenEntry, SessionReader, resolve_id
from audit.state import SessionFiles, StateFiles
from audit.verify import verify_all
from audit.withhold import prune
from tests.audit import attacker
from tests.audit.samples import SECRET, SESSION, Recorder, Samples

OTHER = "zzzzzzzzzzzz"


def found(state: Path, text: str, **settings: str) -> list[int]:
    entries = query_session(state, SESSION, parse_filter(text, **settings))
    return [entry.seq for entry in entries if isinstance(entry, Entry)]


async def test_a_fold_reads_typed_events_and_the_values_behind_commitments(
    recorder: Recorder, state: Path
) -> None:
    await recorder.whole(actions=3)

    reader = SessionReader(state, SESSION)
    events = [event for _, event in reader.events()]

    opened = next(event for event in events if isinstance(event, SessionOpened))
    assert reader.text(opened.task) == "mend the tests"
    assert [event.kind for event in events][:3] == ["log.opened", "session.opened", "action.intended"]


async def test_a_reader_stops_at_a_broken_entry_and_shows_it(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=100)
    attacker.change_session(state, attacker.edit, recomputed=True)

    entries = list(SessionReader(state, SESSION).entries())

    assert isinstance(entries[-1], BrokenEntry)
    assert entries[-1].why == "between entry 0 and entry 64: the seal signs another log"
    assert not any(isinstance(entry, BrokenEntry) for entry in entries[:-1])
    with pytest.raises(BrokenLedgerError):
        list(SessionReader(state, SESSION).events())


async def test_a_reader_says_that_the_end_is_missing(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=100)
    attacker.change_session(state, attacker.cut_at_a_seal, recomputed=False)

    *_, last = SessionReader(state, SESSION).entries()

    assert isinstance(last, BrokenEntry)
    assert "the log ends here" in last.why


async def test_a_query_stops_at_a_broken_entry_too(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=100)
    attacker.change_session(state, attacker.edit, recomputed=True)

    *_, last = query_session(state, SESSION, parse_filter("type=session.closed"))

    assert isinstance(last, BrokenEntry)


def dangling(session: SessionFiles) -> None:
    """Let a link to nowhere lie beside the session's file."""
    session.folder.joinpath("events.jsonl.1").symlink_to("/nowhere")


def pruned_and_dangling(session: SessionFiles) -> None:
    """Let a link to nowhere lie where a pruned session's file was."""
    with HostLog(session.folder.parent.parent) as host:
        prune(host, SESSION, why="old")
    dangling(session)


@pytest.mark.parametrize("large_bytes", [search.LARGE_BYTES, 0])
@pytest.mark.parametrize("attack", [dangling, pruned_and_dangling])
async def test_a_link_among_a_sessions_files_is_told_and_keeps_nobody_from_other_sessions(
    recorder: Recorder,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    attack: Callable[[SessionFiles], None],
    large_bytes: int,
) -> None:
    await recorder.whole(actions=3)
    await recorder.whole(OTHER, actions=3)
    monkeypatch.setattr(search, "LARGE_BYTES", large_bytes)

    attack(StateFiles(state).session(SESSION))

    asked = [*query(state, parse_filter("type=session.closed"))]
    told = [one.entry for one in asked if one.session == SESSION]
    others = [one.entry for one in asked if one.session == OTHER]
    assert isinstance(told[-1], BrokenEntry)
    assert told[-1].why == "`events.jsonl.1` is a symbolic link"
    assert [isinstance(entry, Entry) for entry in others] == [True]
    assert [bool(found.faults()) for found in verify_all(state)] == [False, True, False]


async def test_filters(recorder: Recorder, state: Path, samples: Samples) -> None:
    async with recorder.journal() as journal:
        await journal.record(samples.opened(journal.commit("task")))  # 1
        await journal.record(samples.intended(1, text="src/one.py"))  # 2
        denied = samples.intended(2, text='two "words".py').model_dump() | {"verdict": "denied"}
        await journal.record(ActionIntended(**denied | {"argv": tuple(denied["argv"])}))  # 3
        await journal.record(samples.finished(1))  # 4

    assert found(state, "type=action.intended") == [2, 3]
    assert found(state, "type=action.intended verdict=deny") == [3]
    assert found(state, "verdict=allow") == [2]
    assert found(state, "path~one") == [2]
    assert found(state, 'path~"two \\"') == []
    assert found(state, "type=action.intended path!~one") == [3]
    assert found(state, "argv=src/one.py") == [2]
    assert found(state, "argv=src") == []
    assert found(state, "exit_code=0 outcome=ok") == [4]
    assert found(state, "headless=false") == [1]
    assert found(state, "any~one.py") == [2]
    assert found(state, "arguments.path~one") == [2]
    assert found(state, "seq=4") == [4]
    assert found(state, "type~action") == [2, 3, 4]


async def test_neither_a_mark_nor_a_moved_out_body_hides_from_a_query(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal() as journal:
        await journal.record(samples.intended(1, text="\ud800 evil.example"))  # 1
        await journal.record(samples.intended(2, text="x" * 50_000 + "evil.example"))  # 2

    assert found(state, "path~evil.example") == [1, 2]


async def test_a_query_by_time(recorder: Recorder, state: Path, samples: Samples) -> None:
    async with recorder.journal() as journal:
        await journal.record(samples.intended(1))

    assert found(state, "type=action.intended", since="1h") == [1]
    assert found(state, "type=action.intended", until="1h") == []
    assert found(state, "type=action.intended", since="2001-01-01", until="2001-01-02") == []


def test_times_are_counted_back_from_now() -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)

    assert parse_filter("", since="90m", now=now).since == "2026-01-31T10:30:00.000000Z"
    assert parse_filter("", since="2026-01-30", now=now).since == "2026-01-30T00:00:00.000000Z"


@pytest.mark.parametrize("text", ["nonsense", "=x", "a b", 'path~"open', "Type=x"])
def test_a_filter_that_cannot_be_understood_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(BadFilterError) as refused:
        parse_filter(text)

    assert "hint:" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("when", ["yesterday", "10", "2026-13-01", "\x1b[31m"])
def test_a_time_that_cannot_be_understood_is_refused(when: str) -> None:
    with pytest.raises(BadFilterError) as refused:
        parse_filter("", since=when)

    assert "\x1b" not in str(refused.value)


async def test_whoever_has_a_secret_can_ask_where_it_was_used(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async with recorder.journal(secrets_by_name={"token": SECRET}) as journal:
        await journal.record(samples.intended(1))
        await journal.record(samples.intended(2, text=f"Bearer {SECRET}"))

    wanted = with_secret(parse_filter(""), SECRET, redaction_key(StateFiles(state)))

    assert [entry.seq for entry in query_session(state, SESSION, wanted) if isinstance(entry, Entry)] == [2]


async def test_a_query_over_all_sessions_names_each(recorder: Recorder, state: Path) -> None:
    await recorder.whole(SESSION, actions=2)
    await recorder.whole(OTHER, actions=2)

    hits = list(query(state, parse_filter("type=session.closed")))

    assert [hit.session for hit in hits] == [SESSION, OTHER]
    assert all(isinstance(hit, Found) for hit in hits)
    assert [*read_index(StateFiles(state)).sessions] == [SESSION, OTHER]
    assert all(known.closed_at_size for known in read_index(StateFiles(state)).sessions.values())


async def test_short_forms_of_an_id(recorder: Recorder, state: Path) -> None:
    await recorder.whole(SESSION, actions=1)
    await recorder.whole("0123zzzzzzzz", actions=1)
    index = read_index(StateFiles(state))

    assert resolve_id(index, SESSION, owner_uid=0) == SESSION
    assert resolve_id(index, "01234", owner_uid=0) == SESSION
    assert resolve_id(index, "last", owner_uid=0) == "0123zzzzzzzz"
    for given in ("0123", "012", "9999", "last:/nowhere", "\x1b[2J", ""):
        with pytest.raises(UnknownSessionError) as refused:
            resolve_id(index, given, owner_uid=0)
        assert "\x1b" not in str(refused.value)


async def test_what_a_line_holds_is_one_json_object_whatever_the_agent_writes(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    """An argument with a newline and a forged line in it stays an argument (attack B106)."""
    forged = 'x"}\n{"seq":2,"prev":"00","type":"session.closed"}\r\n\u2028\x00'
    async with recorder.journal() as journal:
        await journal.record(samples.intended(1, text=forged))

    lines = (state / "sessions" / SESSION / "events.jsonl").read_bytes().split(b"\n")[:-1]
    kinds = [json.loads(line)["type"] for line in lines]
    assert kinds == ["log.opened", "action.intended", "log.sealed"]
    assert json.loads(lines[1])["body"]["argv"][2] == forged


async def test_two_sessions_are_compared_action_by_action(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    async def session(name: str, paths: str, denied: str) -> SessionReader:
        async with recorder.journal(name) as journal:
            for number, path in enumerate(paths):
                event = samples.intended(number, text=path)
                verdict = "denied" if path == denied else "allowed"
                await journal.record(event.model_copy(update={"verdict": verdict}))
        return SessionReader(state, name)

    first, second = await session(SESSION, "abcd", "b"), await session(OTHER, "abed", "-")

    found = [
        (
            one.first and (one.first.argv[2], one.first.verdict),
            one.second and (one.second.argv[2], one.second.verdict),
        )
        for one in compare(first, second)
    ]

    assert found == [
        (("b", "denied"), ("b", "allowed")),
        (("c", "allowed"), None),
        (None, ("e", "allowed")),
    ]
    assert list(compare(first, first)) == []
