"""What is exported says what the ledger says, and can do nothing where it is opened."""

import csv
import io
import json
from pathlib import Path

import pytest

from audit.chain import Entry
from audit.escape import escape, escape_line, is_hidden
from audit.event import (
    ApprovalAnswered,
    EgressClosed,
    EgressOpened,
    EgressRequested,
    LimitHit,
    ModelFailed,
    ProcessEnded,
)
from audit.export import View, viewed
from audit.fields import Event, FileUse, Reason
from audit.markdown import markdown
from audit.ocsf import ocsf
from audit.reader import BrokenEntry, SessionReader
from audit.rows import csv_lines, json_lines
from audit.summary import spelled_argv
from audit.verify import verify_session
from tests.audit import attacker
from tests.audit.samples import SESSION, Recorder, Samples

HOSTILE = "=cmd|'/c calc'!A1\x1b[2J\u202e\U000e0041</td><script>alert(1)</script>[x](javascript:y) |@all\r\n"


def everything(samples: Samples) -> list[Event]:
    reason = Reason(code="host", message=HOSTILE)
    return [
        samples.intended(1, text=HOSTILE),
        samples.finished(1).model_copy(
            update={
                "files": (
                    FileUse(path="a/b.py", access="changed", sha256="ab" * 32),
                    FileUse(path="c", access="listed"),
                )
            }
        ),
        ProcessEnded(
            action="a/1", outcome="failed", exit_code=3, duration_ms=7, output_bytes=5, detail=HOSTILE
        ),
        EgressOpened(
            connection="c1", host=HOSTILE, port=443, scheme="https", verdict="denied", reasons=(reason,)
        ),
        EgressOpened(
            connection="c2", host="h", port=443, scheme="https", verdict="allowed", address="192.0.2.1"
        ),
        EgressRequested(connection="c2", method="GET", path="/", verdict="allowed", status=200),
        EgressRequested(connection="c2", method="BREW", path="/", verdict="denied"),
        EgressClosed(connection="c2", sent_bytes=1, received_bytes=2, requests=1, duration_ms=5, why="done"),
        ModelFailed(
            turn=1, backend="b", model="m", error=HOSTILE, attempt=1, duration_ms=1, will_retry=False
        ),
        LimitHit(limit="budget.turns", bound=1, observed=2, unit="turns"),
        ApprovalAnswered(
            action="a/1", digest="0" * 64, answer="denied", by=HOSTILE, via="terminal", waited_ms=9
        ),
    ]


@pytest.fixture
async def recorded(recorder: Recorder, state: Path, samples: Samples) -> Path:
    async with recorder.journal() as journal:
        await journal.record(samples.opened(journal.commit("task")))
        for event in everything(samples):
            await journal.record(event)
        await journal.close(samples.closed())
    return state


def entries(state: Path) -> list[Entry | BrokenEntry]:
    return list(SessionReader(state, SESSION).entries())


def test_no_entry_is_lost_on_the_way_to_ocsf(recorded: Path) -> None:
    events = list(ocsf(SESSION, entries(recorded), version="0.1.0"))

    bodies = [event["unmapped"]["pairlock"].get("body") for event in events]  # type: ignore[index]  # mappings
    assert [body for body in bodies if body is not None] == [entry.body for entry in entries(recorded)]  # type: ignore[union-attr]  # none is broken


def test_how_a_program_in_the_background_ended_is_exported(recorded: Path) -> None:
    text = "".join(markdown(verify_session(recorded, SESSION), entries(recorded)))
    (event,) = [
        event
        for event in ocsf(SESSION, entries(recorded), version="0.1.0")
        if event["unmapped"]["pairlock"].get("type") == "process.ended"  # type: ignore[index]  # mappings
    ]

    assert " | process.ended | failed | failed, exit code 3, 7 ms: " in text
    assert (event["type_uid"], event["process"]) == (100702, {"name": "unknown", "uid": "a/1"})
    assert (event["status_id"], event["status_detail"], event["duration"]) == (2, "failed", 7)


def test_json_lines_hold_every_entry_with_its_marks(recorded: Path) -> None:
    lines = [json.loads(line) for line in json_lines(entries(recorded))]

    assert [line["body"] for line in lines] == [entry.body for entry in entries(recorded)]  # type: ignore[union-attr]  # none is broken


def test_no_cell_of_the_csv_is_a_formula_or_acts_on_a_terminal(recorded: Path) -> None:
    text = "".join(csv_lines(entries(recorded)))
    rows = list(csv.reader(io.StringIO(text)))

    assert len(rows) == len(entries(recorded)) + 1
    for row in rows:
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)
        assert not any(is_hidden(char) for cell in row for char in cell)


def test_markdown_shows_an_agents_text_and_obeys_none_of_it(recorded: Path) -> None:
    text = "".join(markdown(verify_session(recorded, SESSION), entries(recorded)))

    assert "## Session 0123456789ab: the ledger verifies" in text
    for live in ("<script", "](", "@all", "\x1b", "\u202e", "\U000e0041"):
        assert live not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {6}


def test_markdown_stops_before_a_summary_is_dropped_whole(recorded: Path) -> None:
    text = "".join(markdown(verify_session(recorded, SESSION), entries(recorded), largest_bytes=1500))

    assert len(text.encode()) <= 1500
    assert "more entries are left out" in text


async def test_every_export_shows_a_broken_entry(recorder: Recorder, state: Path) -> None:
    await recorder.whole(actions=100)
    attacker.change_session(state, attacker.edit, recomputed=True)

    assert "broken" in list(json_lines(entries(state)))[-1].decode()
    assert "BROKEN" in list(csv_lines(entries(state)))[-1]
    assert "**broken**" in "".join(markdown(verify_session(state, SESSION), entries(state)))
    *_, last = ocsf(SESSION, entries(state), version="0.1.0")
    assert last["severity_id"] == 5


def test_a_command_line_is_spelled_whole_and_unmistakably() -> None:
    assert spelled_argv(("run", "a b", "", "it's", "x" * 5000)) == "run 'a b' '' 'it'\\''s' " + "x" * 5000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, with: punctuation", "plain text, with: punctuation"),
        ("caf\u00e9 \u65e5\u672c \U0001f600", "caf\u00e9 \u65e5\u672c \U0001f600"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("\u200b\ufeff\u00ad", "\\u200b\\ufeff\\xad"),
        ("\u3164\u2800\ufe0f", "\\u3164\\u2800\\ufe0f"),
        ("\u00a0\u2028", "\\xa0\\u2028"),
        ("C:\\x1b", "C:\\\\x1b"),
    ],
)
def test_what_could_act_or_hide_is_spelled_out(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_a_forged_escape_is_told_from_a_real_one() -> None:
    assert escape("\x1b") != escape("\\x1b")


def test_a_cut_line_says_how_much_is_missing() -> None:
    assert escape_line("abcdef", width=4) == "abcd... (2 more characters)"
    assert escape("a\nb", keep="\n") == "a\nb"


async def test_a_connections_end_and_its_requests_say_where_they_led(recorder: Recorder, state: Path) -> None:
    """The address that was dialled is known at the end alone; a request that had no answer has no status."""
    name = f"{SESSION}/c1"
    where = {"host": "example.org", "port": 443}
    requested = {"connection": name, "method": "GET", "path": "/a", "verdict": "allowed", **where}
    async with recorder.journal() as journal:
        await journal.record(EgressRequested.model_validate(requested))
        await journal.record(EgressRequested.model_validate({**requested, "status": 204}))
        await journal.record(
            EgressClosed(
                connection=name, sent_bytes=1, received_bytes=2, requests=2, duration_ms=3, why="done",
                address="192.0.2.7", **where,  # type: ignore[arg-type]  # a text and a number
            )
        )  # fmt: skip

    found = list(ocsf(SESSION, SessionReader(state, SESSION).entries(), version="0.1.0"))

    unanswered, answered, closed = (event for event in found if "dst_endpoint" in event)
    endpoint = {"hostname": "example.org", "port": 443, "uid": name}
    assert unanswered["dst_endpoint"] == answered["dst_endpoint"] == endpoint
    assert closed["dst_endpoint"] == {**endpoint, "ip": "192.0.2.7"}
    assert ("http_response" in unanswered, answered["http_response"]) == (False, {"code": 204})
    assert (unanswered["message"], answered["message"]) == ("GET /a", "GET /a, status 204")


async def test_what_crossed_the_egress_gate_in_all_is_exported(
    recorder: Recorder, state: Path, samples: Samples
) -> None:
    totals = samples.closed().totals.model_copy(update={"sent_bytes": 812, "received_bytes": 64_102})
    async with recorder.journal() as journal:
        await journal.record(samples.opened(journal.commit("task")))
        await journal.close(samples.closed().model_copy(update={"totals": totals}))

    shown = {view: b"".join(viewed(state, SESSION, view, version="0.1.0")).decode() for view in View}

    told = "done: finished; 812 bytes sent, 64102 received"
    assert [view for view in View if told in shown[view]] == [View.CSV, View.MARKDOWN, View.OCSF]
    assert '"sent_bytes":812,"received_bytes":64102' in shown[View.JSON]
    assert ('"pairlock.sent_bytes"' in shown[View.OTLP], '"812"' in shown[View.OTLP]) == (True, True)
