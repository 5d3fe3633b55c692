"""From an event to the bytes of its line: marking, redacting, and moving a body out that is too long."""

import secrets
from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import orjson

from audit.chain import LONGEST_LINE, encode_body, is_group, line_start
from audit.clock import Clock, spell
from audit.fields import Event, Part
from audit.hostile import Own, is_plain, mark
from audit.openings import Opening, commit
from audit.redact import Redactor
from audit.schema import OVERFLOW

_ROOM_FOR_OPENING = 128
_SURE = frozenset({str, int, bool, tuple, type(None), Literal})


class Encoder:
    """Turns events into lines that lack only their place and predecessor.

    Args:
        clock: Where the entry's time comes from.
        redactor: Knows the session's secrets; None knows none.
        random: Gives that many unpredictable bytes, for the salts of bodies that are moved out.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        redactor: Redactor | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._clock = clock
        self._redactor = redactor
        self._random = random
        self._second = -1
        self._second_spelled = ""

    def encode(self, event: Event) -> tuple[bytes, Opening | None]:
        """Return the rest of an event's line, and the opening of its body where that was moved out.

        Args:
            event: What to remember; no value in it can make this fail.
        """
        start = line_start(
            at=self._spelled(self._clock.wall_us()),
            mono_us=self._clock.monotonic_us(),
            kind=event.kind,
            version=event.version,
        )
        body = _quickly(event)
        if body is None:
            body = encode_body(mark(_fields_of(event)))
        if self._redactor is not None and self._redactor.touches(body):
            body = encode_body(self._redactor.marked(mark(_fields_of(event))))
        if len(start) + len(body) + _ROOM_FOR_OPENING <= LONGEST_LINE:
            return start + body + b"}", None  # which is faster here than a format
        opening = commit(body, random=self._random)
        return b"%b%b}" % (start, encode_body({OVERFLOW: opening.commitment.model_dump()})), opening

    def _spelled(self, wall_us: int) -> str:
        """Return the time, spelling its whole second only when that has changed."""
        second = wall_us // 1_000_000
        if second != self._second:
            self._second, self._second_spelled = second, spell(second * 1_000_000)[:20]
        return self._second_spelled + str(1_000_000 + wall_us % 1_000_000)[1:] + "Z"


def _quickly(event: Event) -> bytes | None:
    """Return the encoded body of an event that needs no marks; None when it may need some."""
    fields = event.__dict__
    for name in _loose(type(event)):
        if not is_plain(fields[name]):
            return None
    try:
        return encode_body(fields)
    except orjson.JSONEncodeError:
        return None  # a lone surrogate, or an integer too large


@cache
def _loose(kind: type[Event]) -> tuple[str, ...]:
    """Return the fields that can hold anything: the rest is text, small integers and groups of them."""
    return tuple(name for name, field in kind.model_fields.items() if not _is_sure(field.annotation))


def _is_sure(declared: object) -> bool:
    """Tell whether a field so declared holds nothing that needs a mark but for a lone surrogate."""
    origin = get_origin(declared) or declared
    if origin is Annotated:
        return _is_sure(get_args(declared)[0])
    if origin in (Union, UnionType):
        return all(map(_is_sure, get_args(declared)))
    return origin in _SURE or (isinstance(origin, type) and is_group(origin))


def _fields_of(value: object) -> object:
    """Return an event's fields as mappings and rows; what came from outside is passed on untouched."""
    if isinstance(value, Part):
        return Own({name: _fields_of(item) for name, item in value.__dict__.items()})
    if type(value) is tuple:
        return [_fields_of(item) if isinstance(item, Part) else item for item in value]
    return value
