"""Every event that is exported keeps the rules of the schema, whatever an agent wrote into the entry."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from audit.chain import Entry
from audit.event import SESSION_EVENTS
from audit.ocsf import ocsf
from audit.reader import BrokenEntry, SessionReader
from tests.audit.ocsf_rules import SCHEMA, problems
from tests.audit.samples import SESSION, Recorder, Samples
from tests.audit.test_exports import everything

GOLDEN = Path(__file__).parent / "golden"
FILLED = [json.loads(line) for line in (GOLDEN / "v1" / "filled.jsonl").read_text("utf-8").splitlines()]


def entry_of(kind: str, body: dict[str, object]) -> Entry:
    at = "2026-01-31T23:59:59.000001Z"
    return Entry(seq=7, leaf=b"x" * 32, at=at, mono_us=1, type=kind, version=1, body=body)


def exported(*entries: Entry | BrokenEntry) -> list[dict[str, Any]]:
    return list(ocsf(SESSION, entries, version="0.1.0"))


def golden() -> Iterator[Entry | BrokenEntry]:
    for version in sorted(path for path in GOLDEN.iterdir() if path.is_dir()):
        session = json.loads((version / "expected.json").read_text("utf-8"))["session"]
        yield from SessionReader(version, session).entries()


def test_every_type_of_entry_becomes_an_event_that_keeps_the_rules() -> None:
    filled = [entry_of(told["type"], told["body"]) for told in FILLED]
    entries = [*golden(), *filled]
    kinds = {entry.type for entry in entries if isinstance(entry, Entry)}

    events = exported(*entries)

    assert {kind.kind for kind in SESSION_EVENTS} <= kinds
    assert [found for event in events for found in problems(event)] == []
    assert {str(event["class_uid"]) for event in events} == SCHEMA["classes"].keys()


def test_every_event_has_a_uid_of_its_own_and_those_of_an_entry_its_sequence() -> None:
    """A SIEM that drops what it has seen already drops nothing of these."""
    uses = [{"path": "a", "access": "read"}, {"path": "b", "access": "changed"}]

    events = exported(entry_of("action.finished", {"files": uses}), BrokenEntry(8, "it does not hold", b""))

    told = [(event["metadata"]["uid"], event["metadata"].get("sequence")) for event in events]
    assert told == [
        (f"{SESSION}/7", 7),
        (f"{SESSION}/7/file/0", 7),
        (f"{SESSION}/7/file/1", 7),
        (f"{SESSION}/8/broken", None),
    ]


def test_a_denial_says_which_rule_made_it() -> None:
    rule = {"origin": "pairlock.yaml", "line": 14, "column": 5}
    reason = {"code": "host", "message": "no rule allows `a.example`", "hint": "", "rule": rule}

    (event,) = exported(entry_of("action.intended", {"verdict": "denied", "reasons": [reason]}))

    assert event["status_detail"] == "denied; host: no rule allows `a.example` (pairlock.yaml:14:5)"
    assert (event["action_id"], event["disposition_id"], event["severity_id"]) == (2, 2, 2)


async def test_what_an_agent_wrote_breaks_no_rule(recorder: Recorder, state: Path, samples: Samples) -> None:
    async with recorder.journal() as journal:
        await journal.record(samples.opened(journal.commit("task")))
        for event in everything(samples):
            await journal.record(event)
        await journal.close(samples.closed())

    events = exported(*SessionReader(state, SESSION).entries(), BrokenEntry(9, "it does not hold", b""))

    assert [found for event in events for found in problems(event)] == []


KINDS = sorted({kind.kind for kind in SESSION_EVENTS})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [None, "", 2**53 - 1, -1, [1], {"!": "float", "repr": "nan"}], ids=repr)
def test_a_forged_body_breaks_no_rule(kind: str, value: object) -> None:
    """Whoever forges an entry that verifies nowhere can still not make an export that a reader chokes on."""
    fields = {name: value for event in SESSION_EVENTS if event.kind == kind for name in event.model_fields}

    for body in (fields, {}, {"files": [fields, {"path": value, "access": value}], "argv": [value]}):
        assert [found for event in exported(entry_of(kind, body)) for found in problems(event)] == []


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("example.org", {"hostname": "example.org"}),
        ("192.0.2.1", {"ip": "192.0.2.1"}),
        ("2001:db8::1", {"ip": "2001:db8::1"}),
        ("a b\x1b", {"name": "a b\\x1b"}),
        ("-x.org", {"name": "-x.org"}),
    ],
)
def test_a_host_is_named_as_what_it_is(host: str, named: dict[str, str]) -> None:
    body = {"connection": "c", "host": host, "port": 443, "scheme": "https", "verdict": "denied"}

    (event,) = exported(entry_of("egress.opened", body))

    assert event["dst_endpoint"] == {**named, "port": 443, "uid": "c"}


def without(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(event: dict[str, Any]) -> None:
        for name in path[:-1]:
            event = event[name]
        del event[path[-1]]

    return change


def given(value: object, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(event: dict[str, Any]) -> None:
        for name in path[:-1]:
            event = event[name]
        event[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (given(1008, "class_uid"), "class_uid: 1008"),
        (given(6, "activity_id"), "activity_id: 6"),
        (given(100702, "type_uid"), "type_uid: 100702"),
        (given(3, "category_uid"), "category_uid: 3"),
        (given("1.7.0", "metadata", "version"), "metadata.version"),
        (without("process"), "process: missing"),
        (without("metadata", "product"), "metadata.product: missing"),
        (given(7, "severity_id"), "severity_id: 7"),
        (given("1", "time"), "time: '1'"),
        (given("2", "status_id"), "status_id: '2'"),
        (given("x", "colour"), "colour: unknown"),
        (given(["no_such"], "metadata", "profiles"), "metadata.profiles: no_such"),
        (without("metadata", "profiles"), "action_id: unknown"),
        (given({"cmd_line": "x"}, "process"), "process.: none of pid, uid, cpid"),
        (given(5, "actor"), "actor.: no object"),
        (given("x", "metadata", "profiles"), "metadata.profiles: no array"),
        (without("device", "type"), "device.type: missing beside 99"),
    ],
)
def test_the_rules_find_what_breaks_them(change: Callable[[dict[str, Any]], None], found: str) -> None:
    """The twin: one thing wrong in an event that is right, and it is named."""
    intended = next(told for told in FILLED if told["type"] == "action.intended")
    (event,) = exported(entry_of("action.intended", intended["body"]))
    assert problems(event) == []
    broken = deepcopy(event)

    change(broken)

    assert found in problems(broken)
