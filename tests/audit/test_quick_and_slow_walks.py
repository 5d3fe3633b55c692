"""The quick way through a log and the slow one come to the same: every golden, every attack, any change."""

import asyncio
import random
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit.bound import Bound
from audit.chain import Chain, encode_rest, leaf_hash, strict
from audit.encode import Encoder
from audit.errors import MalformedLineError
from audit.event import SESSION_EVENTS, ActionFinished, ActionIntended, MessageAdded, ModelAsked
from audit.fields import Commitment, Event, Part
from audit.hostile import LARGEST_INTEGER
from audit.index import read_index
from audit.recover import walk_of
from audit.spelling import ACTING, Spellings, are_plain
from audit.state import StateFiles
from audit.walk import BrokenWalkError, Walk
from tests.audit.samples import SESSION, Recorder, TurnableClock
from tests.audit.test_format_is_kept import VERSIONS, example_of
from tests.audit.test_verifiers_agree_on_lines import BAD, GOOD, JSON
from tests.audit.test_verify_finds_attacks import OTHER, TABLE

ORIGIN = "pairlock/session/0123456789ab"
MUTATIONS = 5000
QUICK = 1  # an expression for each type from its first line on
SLOW = sys.maxsize
COMMITTED = Commitment(digest="ab" * 32, size=7)


def outcome(walk: Walk, lines: list[bytes]) -> tuple[object, ...]:
    """Return everything that a walk can say of some lines."""
    problem = None
    try:
        walk.feed(lines)
    except BrokenWalkError as error:
        problem = (error.first, error.last, error.why)
    gathered = (set(walk.commitments), set(walk.moved), set(walk.proofs))
    stands = (walk.chain.size, walk.chain.head, walk.chain.frontier.root(), walk.sealed_size, walk.epoch)
    return problem, walk.last_kind, gathered, stands


def walk_from(chain: Chain, *, often: int) -> Walk:
    bound = Bound(origin=ORIGIN, vkeys={}, roots={}, end=None)
    return Walk(bound, chain.copy(), spellings=Spellings(often=often))


def require_same(line: bytes, chain: Chain) -> None:
    quick, slow = walk_from(chain, often=QUICK), walk_from(chain, often=SLOW)
    assert outcome(quick, [line]) == outcome(slow, [line])


def line_of(event: Event) -> bytes:
    rest, _ = Encoder(TurnableClock()).encode(event)
    return Chain.start(ORIGIN).add(rest)


def is_quick(line: bytes) -> bool:
    """Tell whether a line, alone, is told quickly."""
    place = line.find(b'"at":')
    return are_plain([line]) and Spellings(often=QUICK).of(line, place) is not None


def is_line(line: bytes) -> bool:
    try:
        strict(line)
    except MalformedLineError:
        return False
    return True


def intended(**arguments: object) -> ActionIntended:
    return ActionIntended(
        action="0123456789ab/1", argv=("a", "b"), command="a", arguments=arguments, verdict="allowed"
    )


PLAIN = {str: "plain", int: 7, bool: True, Literal: "allowed", Mapping: {"a": "b", "c": ["d"]}}


def plain_value(annotation: object) -> object:
    """Return a value of a field's kind, as JSON has it, with nothing special about it."""
    outer, inner = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return plain_body(annotation)
    if outer in {Annotated, Union, UnionType}:
        return plain_value(inner[0])
    if outer is tuple:
        return [plain_value(inner[0])] * 2
    return {str: "plain", int: 7, bool: True, Literal: "allowed", Mapping: {"a": "b", "c": ["d"]}}[
        outer or annotation
    ]


def plain_body(kind: type[Part]) -> dict[str, object]:
    return {name: plain_value(field.annotation) for name, field in kind.model_fields.items()}


@pytest.mark.parametrize("kind", [kind for kind in SESSION_EVENTS if kind.kind not in ACTING])
def test_a_plain_line_of_each_type_is_told_quickly(kind: type[Event]) -> None:
    rest = encode_rest(
        at="2026-01-31T23:59:59.000001Z",
        mono_us=5,
        kind=kind.kind,
        version=kind.version,
        body=plain_body(kind),
    )

    line = Chain.start(ORIGIN).add(rest)

    assert is_quick(line)
    assert is_line(line)


@pytest.mark.parametrize("kind", sorted(ACTING))
def test_what_acts_on_the_walk_is_never_told_quickly(kind: str) -> None:
    body = {"session": SESSION, "epoch": 1, "vkey": "k", "writer": "w", "reserve_bytes": 0}
    line = Chain.start(ORIGIN).add(encode_rest(at="t", mono_us=5, kind=kind, version=1, body=body))

    assert not is_quick(line)


@given(st.one_of([example_of(kind) for kind in SESSION_EVENTS]))
@settings(max_examples=150)
def test_both_ways_say_the_same_of_every_event(event: Event) -> None:
    line = line_of(event)

    require_same(line, Chain.start(ORIGIN))
    if is_quick(line):
        assert is_line(line)


@given(JSON)
@example({"a": 10**15})
@example({"a": LARGEST_INTEGER})
def test_both_ways_say_the_same_of_any_arguments(value: object) -> None:
    body = line_of(intended(a=1)).replace(
        b'{"a":1}', orjson.dumps({"a": value}, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
    )

    require_same(body, Chain.start(ORIGIN))


@pytest.mark.parametrize(
    "arguments",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"b":1,"a":1}',
        b'{"a":01}',
        b'{"a":-0}',
        b'{"a":1.5}',
        b'{"a":1e3}',
        b'{"a":9007199254740992}',
        b'{"a":1234567890123456789}',
        b'{"a": 1}',
        b'{"a":1 }',
        b'{"a":"\x07"}',
        b'{"a":"\n"}',
        b'{"a":"\xc3"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\u0041"}',
        b'{"a":[1,2.5]}',
        b'{"a":True}',
        b'{"a":1,}',
        b'{,"a":1}',
        b'{"a":["x",]}',
        b'{"a":"x""b":1}',
    ],
)
def test_no_argument_that_a_writer_would_not_write_is_told_quickly(arguments: bytes) -> None:
    good = line_of(intended(a=1))
    assert is_quick(good)

    line = good.replace(b'{"a":1}', arguments)

    assert line != good
    assert not is_quick(line)
    assert not is_line(line)
    require_same(line, Chain.start(ORIGIN))


@pytest.mark.parametrize("name", BAD)
def test_both_ways_refuse_what_no_writer_writes(name: str) -> None:
    line = BAD[name]

    assert not is_quick(line)
    require_same(line, Chain.start(ORIGIN))
    assert line != GOOD


def test_every_character_alone_is_told_alike() -> None:
    for code in (*range(0x100), 0x2028, 0x202E, 0xD7FF, 0xE000, 0xFEFF, 0xFFFF, 0x1F600, 0x10FFFF):
        raw = chr(code).encode()
        line = line_of(intended(a="X")).replace(b'"X"', b'"%b"' % raw)

        assert is_quick(line) is is_line(line), hex(code)


def test_every_escape_is_told_alike_and_a_writers_own_quickly() -> None:
    """Answers of models hold JSON within text: an escape neither costs the quick way nor opens it."""
    hexadecimal = [f"u{code:04x}" for code in (*range(0x100), 0x2028, 0xD800, 0xDFFF, 0xFFFF)]
    others = [chr(code) for code in range(0x20, 0x7F)] + [
        "u001F",
        "u01",
        "u{1}",
        "x01",
        "u00 1",
        '\\\\\\"',
        '\\\\"',
    ]
    quick = set()
    for escape in [*hexadecimal, *others]:
        line = line_of(intended(a="X")).replace(b'"X"', b'"a\\%b b"' % escape.encode())

        assert is_quick(line) is is_line(line), escape
        require_same(line, Chain.start(ORIGIN))
        if is_quick(line):
            quick.add(escape)

    written = {orjson.dumps(chr(code))[2:-1].decode() for code in (*range(0x20), ord('"'), ord("\\"))}
    assert quick == {*written, '\\\\"'}


def test_an_escape_in_a_key_hides_no_key_that_is_there_twice() -> None:
    good = line_of(intended(**{'a"': 1, "b": 2}))
    assert is_quick(good)

    line = good.replace(b'"b":2', b'"a\\"":2')

    assert not is_quick(line)
    assert not is_line(line)


def test_bytes_of_two_lines_do_not_make_up_one_character() -> None:
    good = line_of(intended(a="X"))
    ends, begins = good.replace(b"}}", b"}}\xc3"), b"\xa9" + good

    assert are_plain([good, good])
    assert not are_plain([ends, begins])


def test_a_line_of_more_than_32_kib_is_not_told_quickly() -> None:
    good = line_of(intended(a="X"))
    longest = good.replace(b'"X"', b'"%b"' % (b"x" * (32_768 - len(good) + 1)))
    assert (len(longest), is_quick(longest)) == (32_768, True)

    assert not is_quick(longest.replace(b"xx", b"xxx", 1))


@pytest.mark.parametrize(
    "event",
    [
        ModelAsked(turn=1, backend="b", model="m", messages=COMMITTED, message_count=1),
        MessageAdded(role="user", content=COMMITTED),
        ActionFinished(
            action="a", outcome="ok", exit_code=None, duration_ms=1, output_bytes=1, body=COMMITTED
        ),
    ],
)
def test_the_commitments_of_a_line_are_gathered_alike(event: Event) -> None:
    line, chain = line_of(event), Chain.start(ORIGIN)
    assert is_quick(line)

    quick, slow = walk_from(chain, often=QUICK), walk_from(chain, often=SLOW)

    assert outcome(quick, [line]) == outcome(slow, [line])
    assert set(quick.commitments) == {COMMITTED.digest}


async def test_both_ways_say_the_same_of_five_thousand_changes(recorder: Recorder, state: Path) -> None:
    lines = (await recorder.whole(actions=40)).read_bytes().splitlines()
    chance = random.Random(20260131)  # noqa: S311 - the same each time
    chain, chains = Chain.start(ORIGIN), []
    for line in lines:
        chains.append(chain.copy())
        chain.advance(leaf_hash(line))

    broken = 0
    for _ in range(MUTATIONS):
        place = chance.randrange(2, len(lines))
        line = changed(lines[place], chance)
        quick = outcome(walk_from(chains[place], often=QUICK), [line])
        assert quick == outcome(walk_from(chains[place], often=SLOW), [line]), line
        broken += quick[0] is not None

    assert MUTATIONS // 4 < broken < MUTATIONS  # most of the others change a value: the line behind tells


def changed(line: bytes, chance: random.Random) -> bytes:
    """Return a line with one small change behind its place and predecessor."""
    at = chance.randrange(line.index(b'"at"'), len(line))
    near = b'{}[],:"\\ 0123456789-+.eEtfn\x00\x1f\x7f\xc3\xa9\xff' + line[at : at + 4]
    put = bytes(chance.choice(near) for _ in range(chance.randrange(3)))
    return line[:at] + put + line[at + chance.randrange(3) :]


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_both_ways_say_the_same_of_every_golden(folder: Path) -> None:
    require_same_state(folder)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state of two sessions, to be copied before it is attacked."""
    state = tmp_path_factory.mktemp("untouched") / "state"
    asyncio.run(Recorder(state).whole(SESSION, actions=100))
    asyncio.run(Recorder(state).whole(OTHER, actions=90))
    return state


@pytest.mark.parametrize("name", TABLE)
def test_both_ways_say_the_same_of_every_attack(untouched: Path, state: Path, name: str) -> None:
    shutil.copytree(untouched, state)

    TABLE[name][0](state)

    require_same_state(state)


def require_same_state(state: Path) -> None:
    """Walk each session of a state both ways, with all that its host's log binds it to."""
    files = StateFiles(state)
    index = read_index(files)
    for session in files.session_ids():
        lines = files.session(session).events.read_bytes().splitlines()
        both = [
            walk_of(session, index.session(session), spellings=Spellings(often=often))
            for often in (QUICK, SLOW)
        ]
        assert outcome(both[0], lines) == outcome(both[1], lines)
