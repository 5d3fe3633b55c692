"""Tell quickly that a line is spelled as a writer spells it: one regular expression for each type of entry.

Each is made from the type's schema. It knows nothing of marks and bodies that were moved out: what it does
not match is no worse for it, and is read by the slow way, which alone says what is wrong.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import orjson

from audit.chain import LONGEST_LINE
from audit.event import SESSION_EVENTS
from audit.fields import Commitment, Part
from audit.log_event import LogOpened, LogSealed, SessionRecovered

SEEN_OFTEN = 200
"""Lines of a type after which its expression is made: that takes as long as reading about as many."""
_ESCAPE = rb'\\(?:["\\bfnrt]|u00(?:0[0-7bef]|1[0-9a-f]))'
"""A character that a writer escapes, as it does; each has one such spelling."""
_TEXT = rb'"[^"]*+"'
"""Text of a line without a backslash, which most are: three times as fast to look at as any other."""
_ANY_TEXT = rb'"[^"\\]*+(?:%b[^"\\]*+)*+"' % _ESCAPE
_COUNT = rb"(?:0|[1-9][0-9]{0,14}+)"
"""An integer from 0 to 10^15 - 1, and so below 2^53."""
_TRUTH = rb"(?:true|false)"
_CONTROLS = range(0x20)
_BACKSLASH = ord("\\")
_TYPE = b'"type":"'
_FARTHEST_TYPE = 90  # bytes between `at` and the type, as a writer writes them
_TWO = 2
_TOLD_BY = 11
"""Bytes from the beginning of a type that no two types have in common."""
ACTING = frozenset({event.kind for event in (LogOpened, LogSealed, SessionRecovered)})
"""Types that change what the lines behind them are held against: never told quickly."""
_KINDS = {
    f'{event.kind}","v":'.encode()[:_TOLD_BY]: event.kind
    for event in SESSION_EVENTS
    if event.kind not in ACTING
}
_COMMITMENT = re.compile(rb'\{"digest":"([0-9a-f]{64})","size":[0-9]+\}')


def _row_of(item: bytes) -> bytes:
    return rb"(?:%b(?:,%b)*+)?+" % (item, item)


_PLAIN = rb"(?:%b|%b|%b|null|\[%b\])" % (_TEXT, _COUNT, _TRUTH, _row_of(_TEXT))
_VALUES = rb"(\{%b\})" % _row_of(rb"%b:%b" % (_TEXT, _PLAIN))

Matching = Callable[[bytes, int], "re.Match[bytes] | None"]


@dataclass(frozen=True, slots=True)
class Spelled:
    """How lines of one type are spelled.

    Attributes:
        kind: The type's name.
        matches: Looks at a line without a backslash, from its ``at`` on; the one group, if any, holds values
            from outside.
        matches_escaped: The same for any line.
        has_values: Whether there is that group.
        commits: Whether such a line can hold commitments.
    """

    kind: str
    matches: Matching
    matches_escaped: Matching
    has_values: bool
    commits: bool


class Spellings:
    """The spellings of the types that a log has shown often enough for them to be worth making.

    Args:
        often: After how many lines of a type its expression is made.
    """

    def __init__(self, *, often: int = SEEN_OFTEN) -> None:
        self._often = often
        self._known: dict[bytes, Spelled] = {}
        self._seen: dict[str, int] = {}
        self._offset = 0  # of the type behind `at`, as it was in the last line that was looked at slowly

    def of(self, line: bytes, start: int) -> Spelled | None:
        """Return the spelling that a line has; None when it is not surely one.

        INVARIANT: a line that has one, and of which `are_plain` is true, is one that `chain.strict` takes.

        Args:
            line: A raw line.
            start: Where its ``at`` begins; what stands before has been looked at.
        """
        place = start + self._offset
        spelled = self._known.get(line[place : place + _TOLD_BY]) or self._found(line, start)
        if spelled is None or len(line) > LONGEST_LINE:
            return None
        match = (spelled.matches_escaped if _BACKSLASH in line else spelled.matches)(line, start)
        if match is None or (spelled.has_values and not _has_no_key_twice(match[1])):
            return None
        return spelled

    def _found(self, line: bytes, start: int) -> Spelled | None:
        """Look for a line's type; make the expression of one that is there often."""
        self._offset = line.find(_TYPE, start, start + _FARTHEST_TYPE) + len(_TYPE) - start
        place = start + self._offset
        beginning = line[place : place + _TOLD_BY]
        kind = _KINDS.get(beginning)
        if kind is None:
            return None
        self._seen[kind] = seen = self._seen.get(kind, 0) + 1
        if seen >= self._often:
            self._known[beginning] = _spelled(kind)
        return self._known.get(beginning)


def row_of(spellings: Spellings, lines: Sequence[bytes], starts: Sequence[int]) -> Sequence[Spelled | None]:
    """Return how each line of a row is spelled; None where that is not told quickly.

    Args:
        spellings: Those of the log.
        lines: Raw lines.
        starts: Where the ``at`` of each begins.
    """
    return list(map(spellings.of, lines, starts)) if are_plain(lines) else [None] * len(lines)


def are_plain(lines: Sequence[bytes]) -> bool:
    """Tell whether lines are UTF-8, each for itself, without a control character."""
    text = b" ".join(lines)  # with something between them that no character goes across
    if any(map(text.__contains__, _CONTROLS)):
        return False
    return text.isascii() or _is_utf8(text)


def commitments_in(lines: bytes) -> list[str]:
    """Return the digests of the commitments in lines that each have a spelling."""
    return [digest.decode("ascii") for digest in _COMMITMENT.findall(lines)]


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _has_no_key_twice(values: bytes) -> bool:
    """Tell whether an object that a spelling has matched names each key once: reading drops all but one."""
    most = values.count(b'":')  # as many as there are keys, and maybe some within values
    if most < _TWO:
        return True
    read = orjson.loads(values)
    return len(read) == most or orjson.dumps(read) == values


@cache
def _spelled(kind: str) -> Spelled:
    """Return how lines of a type are spelled, in the newest version of its schema."""
    event = max((one for one in SESSION_EVENTS if one.kind == kind), key=lambda one: one.version)
    body = _fields_of(event)
    named = rb'"type":"%b","v":%d' % (re.escape(kind.encode()), event.version)
    line = rb'"at":%b,"mono":%b,%b,"body":%b\}' % (_TEXT, _COUNT, named, body)
    plain, escaped = re.compile(line), re.compile(line.replace(_TEXT, _ANY_TEXT))
    return Spelled(kind, plain.fullmatch, escaped.fullmatch, _VALUES in body, _fields_of(Commitment) in body)


def _fields_of(part: type[Part]) -> bytes:
    fields = [
        rb'"%b":%b' % (name.encode(), _spelling_of(field.annotation))
        for name, field in part.model_fields.items()
    ]
    return rb"\{%b\}" % b",".join(fields)


def _spelling_of(annotation: object) -> bytes:
    """Return the expression of a field.

    Raises:
        KeyError: When it is of a kind that no schema had when this was written.
    """
    outer, inner = get_origin(annotation), get_args(annotation)
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    if outer is Annotated:
        return _spelling_of(inner[0])
    if outer in {Union, UnionType}:
        return rb"(?:%b)" % b"|".join(_spelling_of(kind) for kind in inner)
    if outer is tuple and inner[1:] == (...,):
        return rb"\[%b\]" % _row_of(_spelling_of(inner[0]))
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return _fields_of(annotation)
    return _OF_MANY[outer]


_SIMPLE: dict[object, bytes] = {str: _TEXT, int: _COUNT, bool: _TRUTH, type(None): b"null"}
_OF_MANY: dict[object, bytes] = {Literal: _TEXT, Mapping: _VALUES}
