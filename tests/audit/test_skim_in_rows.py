"""A skim takes lines in rows and sifts them by their bytes: it says and finds what the slow way does."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit import skim as skimming
from audit.chain import Chain, encode_rest, leaf_hash, read, strict
from audit.errors import MalformedLineError
from audit.event import LogSealed
from audit.fields import Event
from audit.filters import Filter, Term, lacks_tag, matches, parse_filter
from audit.hostile import mark
from audit.index import read_index
from audit.note import SignerKey, sign
from audit.recover import skim_of
from audit.session_record import SessionRecord
from audit.sift import could_hold, types_of
from audit.state import StateFiles
from audit.walk import BrokenWalkError
from tests.audit import attacker
from tests.audit.forger import ORIGIN, Forger
from tests.audit.large_logs import LargeLog
from tests.audit.samples import SESSION, Samples
from tests.audit.test_verifiers_agree_on_lines import JSON

CHANGES = 150
KIND = b'"type":"action.intended"'


@dataclass(frozen=True, slots=True)
class Written:
    """A session's log as it was written.

    Attributes:
        lines: Its lines.
        record: What the host's log knows of it.
    """

    lines: list[bytes]
    record: SessionRecord


def events() -> Iterator[Event]:
    for number in range(300):
        yield Samples().intended(number, f"src/app{number}.py")
        yield Samples().finished(number)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    state = tmp_path_factory.mktemp("rows") / "state"
    LargeLog(state, SESSION).write(events())
    record = read_index(StateFiles(state)).session(SESSION)
    return Written(attacker.read_lines(StateFiles(state).session(SESSION).events), record)


def skimmed(
    written: Written, lines: list[bytes], pieces: list[bytes], *, at_once: int = 1000
) -> tuple[list[tuple[int, bytes]], object]:
    """Return what a skim hands on, and how it ended: where it stands, or what does not hold.

    Args:
        written: What is known from outside.
        lines: What is looked through.
        pieces: What is looked for.
        at_once: Lines in a row; of each row the last seal's signature is looked at.
    """
    skim, hits = skim_of(SESSION, written.record), list[tuple[int, bytes]]()
    rows = [lines[start : start + at_once] for start in range(0, len(lines), at_once)]
    try:
        for row in rows:
            hits.extend((seq, line) for seq, line, _ in skim.skim(row, pieces, kind=KIND))
    except BrokenWalkError as error:
        return hits, (error.first, error.last, error.why)
    return hits, skim.standing()


def changed(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """Return lines of which one was changed, torn, put elsewhere, left out, or doubled; some chained anew."""
    place, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    fresh, line = list(lines), lines[place]
    match chance.randrange(6):
        case 0:
            at = chance.randrange(len(line))
            fresh[place] = line[:at] + bytes([line[at] ^ 1 << chance.randrange(7)]) + line[at + 1 :]
        case 1:
            fresh[place] = line[: chance.randrange(len(line))]
        case 2:
            fresh[place], fresh[other] = fresh[other], fresh[place]
        case 3:
            del fresh[place : place + chance.randrange(1, 100)]
        case 4:
            fresh.insert(other, line)
        case _:
            seals = [number for number, each in enumerate(lines) if b'"log.sealed"' in each]
            place = chance.choice(seals)
            at = chance.randrange(lines[place].index(b'"note":"') + 8, len(lines[place]) - 6)
            fresh[place] = lines[place][:at] + b"A" + lines[place][at + 1 :]
    return chained_anew(fresh, from_place=min(place, other)) if chance.random() < 0.5 else fresh


def chained_anew(lines: list[bytes], *, from_place: int) -> list[bytes]:
    """Return lines that follow each other, whatever stands in them: all that one can do without a key."""
    chain, fitted = Chain.start(ORIGIN), []
    for seq, line in enumerate(lines):
        rest = re.sub(rb'^\{"seq":\d*,"prev":"[0-9a-f]*",', b"{", line) if seq >= from_place else None
        fitted.append(chain.add(rest) if rest is not None and rest.startswith(b"{") else line)
        if rest is None or not rest.startswith(b"{"):
            chain.advance(leaf_hash(line))
    return fitted


def test_rows_say_and_find_what_single_lines_do(written: Written) -> None:
    chance = random.Random(20260131)  # noqa: S311 - the same each time
    ends = set()
    for number in range(CHANGES):
        lines = changed(written.lines, chance)
        pieces = chance.choice([[], [b'"path":', b"app7"], [b"nowhere"]])

        quick = skimmed(written, lines, pieces)

        assert quick == skimmed(written, lines, pieces, at_once=1), number
        assert quick == skimmed(written, lines, pieces, at_once=90), number
        ends.add(quick[1])

    assert len(ends) > CHANGES // 3  # most break, at many places


def test_rows_of_a_log_that_holds_end_where_single_lines_do(written: Written) -> None:
    quick = skimmed(written, written.lines, [b'"path":', b"app7"])

    assert quick == skimmed(written, written.lines, [b'"path":', b"app7"], at_once=1)
    assert [seq for seq, _ in quick[0]] == [
        seq for seq, line in enumerate(written.lines) if b"app7" in line and b"action.intended" in line
    ]
    assert isinstance(quick[1], skimming.Standing)
    assert quick[1].size == len(written.lines)


@pytest.mark.parametrize("at_once", [1, 90])
@pytest.mark.parametrize("place", [140, 560])
@pytest.mark.parametrize(
    "old_and_new",
    [(b'"seq":', b'"sEq":'), (b'","at":', b'"."at":'), (b'"prev":"', b'"prev" "'), (b'","at":', b'A,"at":')],
)
def test_no_byte_before_the_time_of_a_line_may_be_another(
    written: Written, at_once: int, place: int, old_and_new: tuple[bytes, bytes]
) -> None:
    """Rows are compared column by column: each counts, though the chain goes on from it."""
    lines = list(written.lines)
    lines[place] = lines[place].replace(*old_and_new, 1)
    chain = Chain.start(ORIGIN)
    for line in lines[:place]:
        chain.take(line)
    chain.advance(leaf_hash(lines[place]))
    for later in range(place + 1, len(lines)):
        lines[later] = chain.add(b"{" + lines[later].split(b",", 2)[2])

    _, end = skimmed(Written(lines, SessionRecord(vkeys=written.record.vkeys)), lines, [], at_once=at_once)

    assert isinstance(end, tuple)
    assert place - 1 <= end[0] <= place


def test_the_last_signature_of_a_row_is_looked_at(written: Written) -> None:
    """Of a row's seals the last is held against the key, and covers those before it."""
    last = max(place for place, line in enumerate(written.lines) if b'"log.sealed"' in line)
    lines = list(written.lines[: last + 1])
    record = SessionRecord(vkeys=written.record.vkeys)  # no host's log that would tell of it
    forged = Forger.__new__(Forger)
    forged.chain, forged.lines = Chain.start(ORIGIN), []
    for line in lines[:last]:
        forged.chain.take(line)
    name = written.record.vkeys[1].split("+")[0]
    stranger = SignerKey.make(name, b"f" * 32)
    forged.add(LogSealed(epoch=1, note=sign(forged.chain.checkpoint(ORIGIN).text(), [stranger])))

    _, end = skimmed(Written(lines, record), [*lines[:last], forged.lines[0]], [])

    assert isinstance(end, tuple)
    assert end[1] == last
    assert "not signed by" in end[2] or "is wrong" in end[2]


TEXT = st.text(st.characters(exclude_categories=()), min_size=1, max_size=4)
TERMS = st.builds(
    Term,
    field=st.sampled_from(["any", "arguments", "a", "text"]),
    contains=st.booleans(),
    negated=st.booleans(),
    value=TEXT | st.sampled_from(["1", "true", "null", "a", "ü", '"', "\\", "\\u", "u0061"]),
)


@given(JSON, TEXT, TERMS)
@example("\ud800", "x", Term("any", contains=True, negated=False, value="\ud800"))
@example('a"b', "x", Term("any", contains=True, negated=False, value='"'))
@example("\u2028\x00\x7f", "x", Term("any", contains=True, negated=False, value="\u2028\x00"))
@settings(max_examples=200)
def test_sifting_lets_nothing_through_its_fingers(value: object, text: str, term: Term) -> None:
    """Whatever an entry holds, it is among those that could be meant if it fulfils the filter."""
    body = mark({"a": value, "text": text})
    line = Chain.start(ORIGIN).add(
        encode_rest(at="2026-01-31T23:59:59.000001Z", mono_us=5, kind="action.intended", version=1, body=body)
    )
    other = line.replace(b"action.intended", b"action.finished")
    wanted = Filter(terms=(term, Term("type", contains=False, negated=False, value="action.intended")))
    lines = [other, line, other]

    places = could_hold(lines, types_of(lines), wanted.pieces(), wanted.kind())

    entry = read(line, leaf_hash(line))
    if matches(wanted, entry) and not lacks_tag(wanted, entry):
        assert places == [1]
    assert set(places) <= {1}


@given(st.sampled_from("abz09 é\u2028😀\x7f/"))
def test_no_second_spelling_of_a_character_is_canonical(character: str) -> None:
    """A writer spells each character in one way: what is looked for cannot hide behind an escape."""
    body = {"a": character}
    line = Chain.start(ORIGIN).add(encode_rest(at="t", mono_us=5, kind="k", version=1, body=body))
    escaped = "".join(f"\\u{unit:04x}" for unit in orjson_units(character)).encode()
    strict(line)

    for spelled in (
        escaped,
        escaped.upper().replace(b"\\U", b"\\u"),
        b"\\/" if character == "/" else escaped,
    ):
        with pytest.raises(MalformedLineError):
            strict(line.replace(b'"a":"' + character.encode(), b'"a":"' + spelled))


def orjson_units(character: str) -> list[int]:
    """Return a character's units of UTF-16."""
    raw = character.encode("utf-16-be")
    return [int.from_bytes(raw[place : place + 2]) for place in range(0, len(raw), 2)]


@pytest.mark.parametrize("mono", [5, 10**14])
def test_types_are_told_wherever_a_line_says_them(mono: int) -> None:
    def line(kind: str, mono_us: int) -> bytes:
        rest = encode_rest(
            at="2026-01-31T23:59:59.000001Z", mono_us=mono_us, kind=kind, version=1, body={"a": 1}
        )
        return Chain.start(ORIGIN).add(rest)

    lines = [line("log.sealed", mono), line("action.intended", 7), line("session.recovered", mono)]

    assert types_of(lines) == [
        b'"type":"log.sealed","v":1',
        b'"type":"action.intended",',
        b'"type":"session.recovered',
    ]
    assert types_of([b"{}", b""]) == [b"", b""]
    assert could_hold(lines, types_of(lines), parse_filter("a=1").pieces()) == [0, 1, 2]
    assert orjson.loads(lines[0])["type"] == "log.sealed"
