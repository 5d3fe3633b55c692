"""No value that an agent can bring about stops the log, hides from it, or is read back as another."""

import json
import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.chain import LONGEST_LINE, Chain, leaf_hash, read
from audit.encode import Encoder
from audit.event import ActionIntended
from audit.fields import Event, Text, Values
from audit.hostile import DEEPEST, LONGEST_HEX, MARK, MOST_OPEN, is_plain, mark, unmark
from audit.openings import Opening
from audit.schema import event_of, moved_body
from tests.audit.samples import TurnableClock

any_text = st.text(st.characters(codec=None, categories=None) | st.characters(categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**53 - 2, max_value=2**70)
    | st.floats(allow_nan=False)
    | any_text
    | st.binary()
    | st.sampled_from(["!", "text", "bytes"])
)
keys = any_text | st.sampled_from(["!", "utf16", "items", "base64"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_any_value_comes_back_as_it_was(value: object) -> None:
    written = orjson.dumps(mark(value), option=orjson.OPT_STRICT_INTEGER)

    assert unmark(orjson.loads(written)) == value
    assert unmark(json.loads(written)) == value


@given(values)
def test_a_plain_value_needs_no_mark(value: object) -> None:
    if is_plain(value):
        try:
            plainly = orjson.dumps(value)
        except orjson.JSONEncodeError:
            return  # a lone surrogate, which the encoder finds
        assert orjson.dumps(mark(value)) == plainly


@given(values)
def test_any_value_in_an_action_is_recorded_and_read_back(value: object) -> None:
    event = ActionIntended(
        action="0123456789ab/1",
        argv=("x",),
        command="x",
        arguments={"value": value},
        verdict="denied",
    )
    rest, moved = Encoder(TurnableClock()).encode(event)
    line = Chain.start("pairlock/session/0123456789ab").add(rest)

    entry = read(line, leaf_hash(line))
    again = event_of(entry, body=body_of(moved))

    assert isinstance(again, ActionIntended)
    assert again.arguments == {"value": value}
    assert b"\n" not in line
    assert len(line) <= LONGEST_LINE


def body_of(moved: Opening | None) -> object:
    return None if moved is None or moved.value is None else orjson.loads(moved.value)


class _Open(Event):
    """An event of fields that can hold more than the schema's own kinds do."""

    kind = "test.open"

    told: tuple[Text, ...] = ()
    maybe: Text | None = None
    anything: object = None
    perhaps: Values | None = None
    measured: float | None = None


@pytest.mark.parametrize("given_as", ["anything", "perhaps", "measured"])
@pytest.mark.parametrize("forged", [{MARK: "bytes", "base64": ""}, 0.5, None])
def test_whatever_is_not_declared_as_plain_is_looked_at_and_marked(given_as: str, forged: object) -> None:
    """However it is declared: beside null, or as anything at all; the twin: what is plain stays as it is."""
    event = _Open.model_construct(told=("a",), maybe="b", **{given_as: forged})
    line, _ = Encoder(TurnableClock()).encode(event)

    body = orjson.loads(line)["body"]
    assert body[given_as] == mark(forged)
    assert (body["told"], body["maybe"]) == (["a"], "b")


def test_not_a_number_is_recorded_as_such() -> None:
    found = unmark(json.loads(orjson.dumps(mark([math.nan, math.inf, -math.inf]))))

    assert isinstance(found, tuple)
    assert math.isnan(found[0])
    assert found[1:] == (math.inf, -math.inf)


def nested(depth: int) -> object:
    value: object = ("leaf", b"\xff", 2**60)
    for level in range(depth):
        value = (value,) if level % 2 else {"k": value}
    return value


def read_back(value: object) -> tuple[object, object]:
    """Return what is recorded of a value, as the line has it and turned back."""
    event = ActionIntended(
        action="0123456789ab/1", argv=(), command="x", arguments={"v": value}, verdict="denied"
    )
    rest, moved = Encoder(TurnableClock()).encode(event)
    line = Chain.start("pairlock/session/0123456789ab").add(rest)
    entry = read(line, leaf_hash(line))
    body = entry.body if moved is None else moved_body(entry, moved.value or b"")
    again = event_of(entry, body=body)
    return body["arguments"]["v"], again.arguments["v"]  # type: ignore[index,attr-defined]  # as recorded


@pytest.mark.parametrize("depth", [DEEPEST - 1, DEEPEST, DEEPEST + 1, 200])
def test_depth_neither_stops_the_log_nor_loses_anything(depth: int) -> None:
    assert read_back(nested(depth))[1] == nested(depth)


@pytest.mark.parametrize("depth", [500, 900, 30_000])
def test_what_is_too_deep_to_be_gone_into_stays_as_it_was_recorded(depth: int) -> None:
    raw, found = read_back(nested(depth))

    levels = 0
    while "!" not in found:  # type: ignore[operator]  # a row or a mapping
        raw, found = (raw[0], found[0]) if "k" not in found else (raw["k"], found["k"])  # type: ignore[index,operator]
        levels += 1
    assert found == raw
    flat = found["flat"]  # type: ignore[index]  # it is a mark
    assert levels + flat.count("[") + flat.count("{") == depth + 1  # the leaf is a row as well
    assert ["=", "leaf"] in flat


def test_a_value_that_contains_itself_is_marked_as_too_large() -> None:
    endless: list[object] = []
    endless.append(endless)

    assert mark(endless) == {"!": "large", "nodes_over": 100_000}


def test_what_is_no_json_at_all_is_named_and_not_called() -> None:
    class Trap:
        def __repr__(self) -> str:
            raise AssertionError

        __str__ = __repr__

    assert mark({"k": Trap()}) == {"k": {"!": "other", "type": "Trap"}}


def test_bytes_that_are_not_utf8_in_an_argv_come_back_as_surrogates() -> None:
    event = ActionIntended(
        action="0123456789ab/1",
        argv=(b"caf\xe9",),  # type: ignore[arg-type]  # what a careless caller passes
        command="x",
        arguments={},
        verdict="denied",
    )

    assert event.argv == ("caf\udce9",)


@pytest.mark.parametrize(
    "forged",
    [
        {"!": "text", "utf16": "%%%"},
        {"!": "text"},
        {"!": "integer", "hex": "zz"},
        {"!": "pairs", "items": [[1]]},
        {"!": "pairs", "items": [[["unhashable", []], {"a": {"!": "pairs", "items": []}}]]},
        {"!": "deep", "flat": ["[", "[", "]"]},
        {"!": "deep", "flat": []},
        {"!": ["list"]},
        {"!": "number", "text": "x"},
        {"!": "unheard of"},
        {"!": "integer", "hex": "f" * 20_000},
        {"!": "integer", "hex": "f" * (LONGEST_HEX + 1)},
        {"!": "deep", "flat": ["["] * 3500 + ["]"] * 3500},
        {"!": "deep", "flat": ["[", ["=", {"!": "deep", "flat": ["[", "]"]}], "]"]},
        {"!": "deep", "flat": ["[", ["="], "]"]},
    ],
)
def test_a_malformed_mark_is_shown_as_it_stands(forged: dict[str, object]) -> None:
    assert unmark(forged) in (forged, {("unhashable", ()): {"a": {}}})


def test_the_longest_integer_that_is_turned_back_can_be_spelled() -> None:
    found = unmark({"!": "integer", "hex": "f" * LONGEST_HEX})

    assert str(found).isdecimal()


def test_the_deepest_value_that_is_turned_back_can_be_gone_into() -> None:
    found = unmark({"!": "deep", "flat": ["["] * MOST_OPEN + ["]"] * MOST_OPEN})

    assert str(found).count("(") == MOST_OPEN
