"""What is a line and what is none: three verifiers, written apart, say the same of each."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audit import standalone
from audit.bound import Bound
from audit.chain import Chain, encode_rest, leaf_hash, read, strict
from audit.errors import AuditError, MalformedLineError
from audit.walk import BrokenWalkError, Walk
from tests.audit import third_party

ORIGIN = "pairlock/session/0123456789ab"
REST = encode_rest(
    at="2026-01-31T23:59:59.000001Z", mono_us=5, kind="x.y", version=1, body={"a": [1, -2], "b": "\u00e9\n"}
)
GOOD = Chain.start(ORIGIN).add(REST)
BAD = {
    "another key": GOOD.replace(b'"v":1,', b'"v":1,"w":1,'),
    "a key less": GOOD.replace(b'"mono":5,', b""),
    "another order": GOOD.replace(b'"mono":5,"type":"x.y",', b'"type":"x.y","mono":5,'),
    "a key twice": GOOD.replace(b'"v":1,', b'"v":2,"v":1,'),
    "a key of the body twice": GOOD.replace(b'"a":', b'"b":1,"a":'),
    "a type that is no text": GOOD.replace(b'"type":"x.y"', b'"type":["x.y"]'),
    "a number that is text": GOOD.replace(b'"mono":5', b'"mono":"5"'),
    "a truth in a number's place": GOOD.replace(b'"mono":5', b'"mono":true'),
    "a body that is no object": GOOD.replace(b'"body":{', b'"body":[{') + b"]",
    "a large integer": GOOD.replace(b"[1,", b"[9007199254740992,"),
    "a very large integer": GOOD.replace(b"[1,", b"[%d," % 10**30),
    "a space": GOOD.replace(b"[1,", b"[1, "),
    "a needless escape": GOOD.replace(b"x.y", b"x\\u002ey"),
    "NaN": GOOD.replace(b"[1,", b"[NaN,"),
    "a plus": GOOD.replace(b"[1,", b"[1e2,"),
    "a fraction": GOOD.replace(b"[1,", b"[1.5,"),
    "a fraction that is whole": GOOD.replace(b"[1,", b"[1.0,"),
    "an exponent": GOOD.replace(b"[1,", b"[1e+16,"),
    "a small exponent": GOOD.replace(b"[1,", b"[1e-7,"),
    "a fraction in a number's place": GOOD.replace(b'"mono":5', b'"mono":5.0'),
    "minus zero": GOOD.replace(b"[1,", b"[-0,"),
    "something behind it": GOOD + b" ",
    "two objects": GOOD + b",{}",
    "half a line": GOOD[:-1],
    "more than 32 KiB": GOOD.replace(b"x.y", b"x" * 32_768),
    "a carriage return behind it": GOOD + b"\r",
    "a byte order mark before it": b"\xef\xbb\xbf" + GOOD,
    "a zero behind it": GOOD + b"\0",
    "a zero within": GOOD.replace(b"x.y", b"x\0y"),
    "an escaped slash": GOOD.replace(b"x.y", b"x\\/y"),
    "a capital escape": GOOD.replace(b"\xc3\xa9", b"\\u00E9"),
    "half a pair": GOOD.replace(b"\xc3\xa9", b"\\ud800"),
    "half a pair in UTF-8": GOOD.replace(b"\xc3\xa9", b"\xed\xa0\x80"),
    "a zero in two bytes": GOOD.replace(b"\xc3\xa9", b"\xc0\x80"),
    "a key twice, escaped once": GOOD.replace(b'"a":', b'"\\u0061":0,"a":'),
    "a number beyond all": GOOD.replace(b"[1,", b"[1e400,"),
    "a number of 5,000 digits": GOOD.replace(b"[1,", b"[" + b"9" * 5000 + b","),
    "a small large integer": GOOD.replace(b"-2]", b"-9007199254740992]"),
    "Infinity": GOOD.replace(b"[1,", b"[-Infinity,"),
    "a comment": GOOD.replace(b"[1,", b"[1/**/,"),
    "a comma too many": GOOD.replace(b"-2]", b"-2,]"),
    "bad UTF-8": GOOD.replace(b"\xc3\xa9", b"\xc3"),
}


def ours(line: bytes) -> bool:
    try:
        Walk(Bound(origin=ORIGIN, vkeys={}, roots={}, end=None), Chain.start(ORIGIN)).feed([line])
    except BrokenWalkError:
        return False
    return True


def readers(line: bytes) -> bool:
    try:
        read(line, leaf_hash(line))
    except AuditError:
        return False
    return True


def alone(line: bytes) -> bool:
    try:
        standalone.Log(ORIGIN).take(line)
    except standalone.BadLogError:
        return False
    return True


def third(line: bytes) -> bool:
    problems: list[str] = []
    try:
        third_party.chained(line + b"\n", ORIGIN, problems)
    except (ValueError, KeyError, RecursionError):
        return False
    return not problems


VERIFIERS = (ours, readers, alone, third)


@pytest.mark.parametrize("holds", VERIFIERS)
def test_what_a_writer_writes_is_a_line(holds: Callable[[bytes], bool]) -> None:
    assert holds(GOOD)


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("holds", VERIFIERS)
def test_what_no_writer_writes_is_none(holds: Callable[[bytes], bool], name: str) -> None:
    assert BAD[name] != GOOD
    assert not holds(BAD[name])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
@example(1e16)
@example([{"digest": "a", "size": 1e-7}])
def test_the_quick_way_and_the_strict_way_say_the_same_of_any_value(value: object) -> None:
    line = GOOD.replace(b"[1,", b"[" + orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_SUBCLASS) + b",")

    assert ours(line) is readers(line)


@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_the_quick_way_and_the_strict_way_say_the_same_of_any_change(
    place: int, put: bytes, dropped: int
) -> None:
    line = GOOD[:place] + put + GOOD[place + dropped :]
    if line.startswith(GOOD[: GOOD.index(b'"at"')]):  # a walk looks at place and predecessor as well
        assert ours(line) is readers(line)


def filled(size: int) -> bytes:
    return GOOD.replace(b"x.y", b"x" * (3 + size - len(GOOD)))


@pytest.mark.parametrize("holds", VERIFIERS)
def test_a_line_may_have_32_kib_and_no_byte_more(holds: Callable[[bytes], bool]) -> None:
    assert len(filled(32_768)) == 32_768

    assert holds(filled(32_768))
    assert not holds(filled(32_769))


def test_the_bundles_verifier_reads_no_line_without_an_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(GOOD + b"\n" + filled(32_768) + b"\n" + GOOD[:40])
    assert list(standalone.lines_of([path])) == [GOOD, filled(32_768)]
    path.write_bytes(GOOD + b"\n" + filled(65_537))

    with pytest.raises(standalone.BadLogError, match="a line of more than 65536 bytes"):
        list(standalone.lines_of([path]))


def nested(levels: int) -> bytes:
    """Return a line of so many levels: its own, its body's, a list's, and lists in that."""
    return GOOD.replace(b"[1,", b"[" + b"[" * (levels - 3) + b"1" + b"]" * (levels - 3) + b",")


@pytest.mark.parametrize("levels", [201, 700, 1100, 6000])
@pytest.mark.parametrize("holds", VERIFIERS)
def test_a_line_deeper_than_readers_go_is_none(holds: Callable[[bytes], bool], levels: int) -> None:
    assert not holds(nested(levels))


@pytest.mark.parametrize("holds", VERIFIERS)
def test_a_line_as_deep_as_readers_go_is_one(holds: Callable[[bytes], bool]) -> None:
    assert holds(nested(200))


WHY = {
    "another key": "the line's keys are not `seq`, `prev`, `at`, `mono`, `type`, `v`, `body`",
    "another order": "the line's keys are not `seq`, `prev`, `at`, `mono`, `type`, `v`, `body`",
    "a truth in a number's place": "a field of the line is of the wrong kind",
    "a large integer": "a number of the line is 2^53 or more",
    "a space": "the line is not spelled as a writer spells it",
    "half a line": "the line is not JSON",
    "a fraction": "a number of the line has a fraction or an exponent",
}


@pytest.mark.parametrize("what", WHY)
def test_a_line_is_refused_for_what_is_wrong_with_it(what: str) -> None:
    with pytest.raises(MalformedLineError) as refusal:
        strict(BAD[what])

    assert str(refusal.value) == WHY[what]
