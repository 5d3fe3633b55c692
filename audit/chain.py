"""The form of a line: how it names its predecessor, how it is hashed, how strictly it is read.

A line begins ``{"seq":N,"prev":"<leaf hash of the line before>",`` and goes on with ``at``, ``mono``,
``type``, ``v`` and ``body``. Its leaf is SHA-256(0x00 || the raw line without its newline). Raw bytes are
hashed; nothing is put into a canonical form. The tree and signatures are elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson
from pydantic import BaseModel

from audit.errors import MalformedLineError
from audit.merkle import Frontier
from audit.note import Checkpoint

LONGEST_LINE = 32 * 1024
DEEPEST_LINE = 200
"""Levels of objects and lists in a line; what a writer marks as deep stays below."""
_KEYS = ["seq", "prev", "at", "mono", "type", "v", "body"]
_BEGUN = sha256(b"\x00")
"""What each leaf's hash begins with; a copy of it is made faster than a hash of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line, read.

    Attributes:
        seq: Its place in its log, counted from 0.
        leaf: Its leaf hash.
        at: The writer's wall clock, a claim: ``2026-01-31T23:59:59.000001Z``.
        mono_us: The writer's monotonic clock in microseconds; comparable within one run of one machine.
        type: The name of the entry's type, for example ``action.intended``.
        version: The version of that type's schema.
        body: The fields, in the ledger's JSON (marked values still marked).
    """

    seq: int
    leaf: bytes
    at: str
    mono_us: int
    type: str
    version: int
    body: dict[str, object]


def genesis(origin: str) -> bytes:
    """Return what the first line names as its predecessor: a hash of the log's own name.

    Args:
        origin: ``pairlock/session/<id>`` or ``pairlock/host/<name>``.
    """
    return sha256(b"pairlock ledger 1\n" + origin.encode("utf-8")).digest()


def leaf_hash(line: bytes) -> bytes:
    """Return the leaf of a raw line, given without its newline (RFC 6962 section 2.1)."""
    leaf = _BEGUN.copy()
    leaf.update(line)
    return leaf.digest()


def leaf_hashes(lines: Sequence[bytes]) -> list[bytes]:
    """Return the leaves of raw lines, given without their newlines."""
    found, begun = [], _BEGUN.copy
    for line in lines:  # as `leaf_hash` does, a call less for each of a million
        leaf = begun()
        leaf.update(line)
        found.append(leaf.digest())
    return found


def opening(seq: int, prev: bytes) -> bytes:
    """Return how the line at that place must begin."""
    return b'{"seq":%d,"prev":"%s",' % (seq, prev.hex().encode("ascii"))


def join(seq: int, prev: bytes, rest: bytes) -> bytes:
    """Return a whole line without its newline.

    Args:
        seq: Its place.
        prev: The leaf before it.
        rest: The encoded rest of the object, beginning with ``{``.
    """
    return b'{"seq":%d,"prev":"%b",%b' % (seq, prev.hex().encode("ascii"), rest[1:])


def encode_rest(*, at: str, mono_us: int, kind: str, version: int, body: object) -> bytes:
    """Return everything of a line but its place and predecessor, as an encoded object.

    Args:
        at: The wall clock, spelled.
        mono_us: The monotonic clock, in microseconds.
        kind: The entry's type.
        version: The version of the type's schema.
        body: Fields that ``hostile.mark`` has been over.
    """
    return b"%b%b}" % (line_start(at=at, mono_us=mono_us, kind=kind, version=version), encode_body(body))


def line_start(*, at: str, mono_us: int, kind: str, version: int) -> bytes:
    """Return what stands between a line's predecessor and its body, as the beginning of an object.

    Args:
        at: The wall clock, spelled: no character of it needs an escape.
        mono_us: The monotonic clock, in microseconds.
        kind: The entry's type: a name of the schema, of which no character needs an escape either.
        version: The version of the type's schema.
    """
    return f'{{"at":"{at}","mono":{mono_us},"type":"{kind}","v":{version},"body":'.encode("ascii")


def encode_body(body: object) -> bytes:
    """Return the fields of an event, encoded.

    Args:
        body: Fields that ``hostile.mark`` has been over, or that need no mark.
    """
    return orjson.dumps(body, default=_fields_within, option=orjson.OPT_STRICT_INTEGER)


def _fields_within(value: object) -> object:
    """Return the fields of a group within an event; anything else is refused."""
    if is_group(type(value)):
        return value.__dict__
    raise TypeError


def is_group(kind: type) -> bool:
    """Tell whether values of a type are groups of fields; `issubclass` takes long where pydantic answers."""
    return BaseModel in kind.__mro__


def read(line: bytes, leaf: bytes) -> Entry:
    """Return the entry of a line, insisting that encoding it again gives the same bytes.

    That refuses duplicate keys, of which JSON libraries take the last, odd escapes, spaces and NaN.

    Args:
        line: The raw line, without its newline.
        leaf: Its leaf hash, which the caller has computed.

    Raises:
        MalformedLineError: When it is anything but what the writer writes.
    """
    fields = strict(line)
    return Entry(
        seq=fields["seq"],
        leaf=leaf,
        at=fields["at"],
        mono_us=fields["mono"],
        type=fields["type"],
        version=fields["v"],
        body=fields["body"],
    )


def is_formed(fields: dict[str, Any]) -> bool:
    """Tell whether a line's object has the keys of a line and no others, in their order, each of its kind.

    Args:
        fields: The object. That it is spelled as a writer spells it is looked at elsewhere.
    """
    if [*fields] != _KEYS:
        return False
    seq, prev, at, mono, kind, version, body = fields.values()
    numbers = type(seq) is int and type(mono) is int and type(version) is int
    return numbers and type(prev) is str and type(at) is str and type(kind) is str and type(body) is dict


def strict(line: bytes) -> dict[str, Any]:
    """Return the fields that a line spells.

    Raises:
        MalformedLineError: When it is no JSON object, or not spelled as the writer spells it.
    """
    if len(line) > LONGEST_LINE:
        raise MalformedLineError(f"the line has `{len(line)}` bytes, more than {LONGEST_LINE}")
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise MalformedLineError("the line is not JSON") from error
    if not isinstance(fields, dict):
        raise MalformedLineError("the line is not a JSON object")
    try:
        spelled = orjson.dumps(fields, option=orjson.OPT_STRICT_INTEGER)
    except orjson.JSONEncodeError as error:
        raise MalformedLineError("a number of the line is 2^53 or more") from error
    if spelled != line:
        raise MalformedLineError("the line is not spelled as a writer spells it")
    if [*fields] != _KEYS:
        raise MalformedLineError("the line's keys are not `seq`, `prev`, `at`, `mono`, `type`, `v`, `body`")
    if not is_formed(fields):
        raise MalformedLineError("a field of the line is of the wrong kind")
    require_plain(fields["body"], levels=DEEPEST_LINE - 1)
    return fields


def require_plain(body: object, *, levels: int = DEEPEST_LINE) -> None:
    """Check that every number in a body is an integer, and that it is nested no deeper than readers go.

    Raises:
        MalformedLineError: When one has a fraction or an exponent, or there are more levels.
    """
    level, values = 0, [body]
    while values:
        if any(type(value) is float for value in values):
            raise MalformedLineError("a number of the line has a fraction or an exponent")
        inner: list[object] = []
        for value in values:
            if isinstance(value, dict):
                inner.extend(value.values())
            elif isinstance(value, list):
                inner.extend(value)
        level += any(isinstance(value, dict | list) for value in values)
        if level > levels:
            raise MalformedLineError(f"the line is nested more than {DEEPEST_LINE} levels deep")
        values = inner


class Chain:
    """Where a log stands: how many lines, the leaf of the last, the tree's frontier.

    Args:
        head: The leaf of the last line, or the genesis of an empty log.
        frontier: The tree so far.
    """

    __slots__ = ("frontier", "head")

    def __init__(self, head: bytes, frontier: Frontier) -> None:
        self.head = head
        self.frontier = frontier

    @classmethod
    def start(cls, origin: str) -> "Chain":
        """Return the chain of an empty log."""
        return cls(genesis(origin), Frontier())

    @property
    def size(self) -> int:
        """Return the number of lines so far."""
        return self.frontier.size

    def copy(self) -> "Chain":
        """Return a chain that can grow on its own."""
        return Chain(self.head, self.frontier.copy())

    def add(self, rest: bytes) -> bytes:
        """Return the next line, without its newline, and move on to it."""
        line = join(self.size, self.head, rest)
        self.advance(leaf_hash(line))
        return line

    def take(self, line: bytes) -> bytes:
        """Check that a line follows, move on to it, and return its leaf.

        Raises:
            MalformedLineError: When it names another place or another predecessor.
        """
        if not line.startswith(opening(self.size, self.head)):
            raise MalformedLineError(f"entry {self.size} does not follow the entry before it", seq=self.size)
        leaf = leaf_hash(line)
        self.advance(leaf)
        return leaf

    def advance(self, leaf: bytes) -> None:
        """Move on to a line whose leaf is known."""
        self.head = leaf
        self.frontier.append(leaf)

    def extend(self, leaves: list[bytes]) -> None:
        """Move on past lines whose leaves are known; at least one."""
        self.head = leaves[-1]
        self.frontier.extend(leaves)

    def checkpoint(self, origin: str, *extensions: str) -> Checkpoint:
        """Return what a seal signs: size, root and head."""
        lines = (f"head {self.head.hex()}", *extensions)
        return Checkpoint(origin=origin, size=self.size, root=self.frontier.root(), extensions=lines)
