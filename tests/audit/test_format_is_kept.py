"""The format for ever: golden files of each version are read by every later one, and the schema fits them."""

import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from audit.chain import Chain, Entry, encode_rest, genesis, leaf_hash, read
from audit.encode import Encoder
from audit.errors import BadEventError, MalformedLineError
from audit.event import SESSION_EVENTS
from audit.fields import Event
from audit.host_event import HOST_EVENTS
from audit.reader import SessionReader
from audit.schema import event_of, line_schema, registry
from audit.verdict import Pinned
from audit.verify import verify_all
from tests.audit import third_party
from tests.audit.samples import TurnableClock

GOLDEN = Path(__file__).parent / "golden"
FILLED = GOLDEN / "v1" / "filled.jsonl"
VERSIONS = sorted(path for path in GOLDEN.iterdir() if path.is_dir())


def example_of(kind: type[BaseModel]) -> st.SearchStrategy[BaseModel]:
    """Return a strategy for any event of a type, hostile text included."""
    fields = {name: value_of(field.annotation, field.metadata) for name, field in kind.model_fields.items()}
    return st.builds(kind, **fields)


def value_of(  # noqa: PLR0911 - one return for each kind of field
    annotation: object, metadata: list[object]
) -> st.SearchStrategy[object]:
    text = st.text(st.characters(codec=None, categories=None), max_size=8)
    arguments = get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return example_of(annotation)
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return st.integers(0, 2**53 - 1)
    if annotation is str:
        patterned = any("pattern" in str(item) for item in metadata)
        return (
            st.sampled_from(["ab" * 32, "0" * 64])
            if patterned
            else text
            if metadata
            else st.text("abc/1", max_size=5)
        )
    if "Literal" in str(annotation):
        return st.sampled_from(arguments)
    if str(annotation).startswith("tuple"):
        return st.lists(value_of(*_peeled(arguments[0])), max_size=2).map(tuple)
    if "Mapping" in str(annotation):
        return st.dictionaries(
            text, text | st.integers() | st.none() | st.floats(allow_nan=False), max_size=2
        )
    return st.one_of([st.none() if part is type(None) else value_of(*_peeled(part)) for part in arguments])


def _peeled(annotation: object) -> tuple[object, list[object]]:
    metadata = list(getattr(annotation, "__metadata__", []))
    return (get_args(annotation)[0], metadata) if metadata else (annotation, [])


@pytest.mark.parametrize("kind", list(registry().values()), ids=lambda kind: kind.kind)
@given(data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_event_of_any_type_is_read_back_as_it_was(kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(example_of(kind))
    assert isinstance(event, Event)

    rest, _ = Encoder(TurnableClock()).encode(event)
    line = Chain.start("pairlock/session/0123456789ab").add(rest)

    assert event_of(read(line, leaf_hash(line))) == event


def test_types_are_named_once_and_by_whom_they_are_about() -> None:
    kinds = [(event.kind, event.version) for event in (*SESSION_EVENTS, *HOST_EVENTS)]

    assert len(set(kinds)) == len(set(SESSION_EVENTS) | set(HOST_EVENTS)) == len(registry())
    assert all(kind.count(".") == 1 and kind.islower() for kind, _ in kinds)


def test_the_schema_has_a_shape_for_every_type_and_is_plain_json() -> None:
    schema = line_schema()

    assert len(schema["oneOf"]) == len(registry())  # type: ignore[arg-type]  # a list
    assert json.loads(json.dumps(schema)) == schema


def shape_of(schema: object) -> object:
    """Return a schema without its words."""
    if isinstance(schema, list):
        return [shape_of(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    words = {name for name in ("description", "title") if isinstance(schema.get(name), str)}
    return {name: shape_of(item) for name, item in schema.items() if name not in words}


def test_the_schema_is_the_one_of_version_1() -> None:
    """Whoever reads logs builds on it; 0.1.0 fixes it."""
    pinned = GOLDEN / "v1" / "schema.json"

    assert shape_of(line_schema()) == json.loads(pinned.read_text()), (
        "a type's shape has changed; before 0.1.0: give each new field a default, fill it in "
        "golden/v1/filled.jsonl, write `shape_of(line_schema())` to golden/v1/schema.json, and add a line to "
        "the changelog, all in one commit; after 0.1.0: give the type a new `v`"
    )


@pytest.mark.parametrize("line", FILLED.read_text().splitlines())
def test_a_golden_entry_with_every_field_filled_is_read_for_ever(line: str) -> None:
    """The types that gained fields with defaults, none of which is at its default here, and newer types."""
    told = json.loads(line)
    entry = Entry(seq=0, leaf=b"", at="", mono_us=0, type=told["type"], version=1, body=told["body"])

    event = event_of(entry)

    assert event.model_dump(mode="json", exclude_defaults=True) == told["body"]
    assert told["body"].keys() == type(event).model_fields.keys()


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
def test_golden_files_verify_and_read_for_ever(version: Path) -> None:
    key = (version / "host.vkey").read_text()

    found = list(verify_all(version, pinned_vkey=key))

    assert [(one.log, one.faults()) for one in found] == [(one.log, {}) for one in found]
    assert all(isinstance(one.authenticity, Pinned) for one in found)
    assert third_party.faults(version, key) == []
    kinds = {entry.type for one in found[1:] for entry, _ in SessionReader(version, one.log).events()}
    filled_kinds = {json.loads(line)["type"] for line in FILLED.read_text().splitlines()}
    assert kinds | filled_kinds >= {event.kind for event in SESSION_EVENTS}


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
def test_a_golden_session_folds_to_the_same_values_for_ever(version: Path) -> None:
    expected = json.loads((version / "expected.json").read_text())
    reader = SessionReader(version, expected["session"])

    events = [event for _, event in reader.events()]

    assert [event.kind for event in events] == expected["kinds"]
    opened = next(event for event in events if event.kind == "session.opened")
    assert reader.text(opened.task) == expected["task"]  # type: ignore[attr-defined]  # a SessionOpened
    intended = next(event for event in events if event.kind == "action.intended")
    assert repr(intended.argv) == expected["argv"]  # type: ignore[attr-defined]  # an ActionIntended
    assert repr(intended.arguments) == expected["arguments"]  # type: ignore[attr-defined]  # an ActionIntended


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"\xff",
        b'{"seq":0,"seq":0,"prev":"P","at":"","mono":0,"type":"x","v":1,"body":{}}',
        b'{"seq": 0,"prev":"P","at":"","mono":0,"type":"x","v":1,"body":{}}',
        b'{"prev":"P","seq":0,"at":"","mono":0,"type":"x","v":1,"body":{}}',
        b'{"seq":0,"prev":"P","at":"","mono":0,"type":"x","v":1}',
        b'{"seq":0,"prev":"P","at":"","mono":0,"type":"x","v":1,"body":{},"more":1}',
        b'{"seq":0,"prev":"P","at":"\\u0041","mono":0,"type":"x","v":1,"body":{}}',
        b'{"seq":0,"prev":"P","at":"","mono":NaN,"type":"x","v":1,"body":{}}',
        b'{"seq":0,"prev":"P","at":"","mono":0,"type":"x","v":1,"body":[]}',
        b'{"seq":0,"prev":"P","at":"","mono":0,"type":"x","v":"1","body":{}}',
        b'{"seq":0,"prev":"P","at":"","mono":0,"type":"x","v":1,"body":{}}' + b" " * 40_000,
        b"[" * 100_000,
    ],
)
def test_a_line_that_no_writer_writes_is_refused(line: bytes) -> None:
    with pytest.raises(MalformedLineError):
        read(line.replace(b'"P"', b'"%s"' % (b"0" * 64)), b"")


def test_an_unknown_type_is_told_and_not_guessed() -> None:
    body = b'{"at":"","mono":0,"type":"session.levitated","v":1,"body":{}}'
    line = Chain.start("o").add(body)

    with pytest.raises(BadEventError) as refused:
        event_of(read(line, leaf_hash(line)))

    assert "session.levitated" in str(refused.value)
    assert "hint:" in str(refused.value)


def test_the_beginning_of_a_log_is_bound_to_its_name() -> None:
    assert genesis("pairlock/session/0123456789ab") != genesis("pairlock/session/0123456789ac")


def test_a_value_that_no_mark_stands_for_is_refused_and_not_written_as_null() -> None:
    """Whoever hands the writer something unmarked has a fault of their own, which must not lose a field."""
    with pytest.raises(TypeError):
        encode_rest(at="", mono_us=0, kind="x", version=1, body={"field": object()})
