"""Code JSON objects strictly: no duplicate names, no NaN, no lone surrogates, bounded depth.

The interpreter's own C scanner and encoder are used directly: the `json` package imports `re` and `enum`,
which would cost the guest a third of its start.
"""

from __future__ import annotations

from _json import encode_basestring, make_encoder, make_scanner

from .frames import ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
    Object = dict[str, Value]

MAX_DEPTH = 32
_INTEGER_CHARACTERS = 19


def encode_object(value: Object) -> bytes:
    """Return `value` as JSON in UTF-8, without spaces.

    Raises:
        ValueError: when it holds a NaN, a lone surrogate or something that JSON has no form for.
    """
    return "".join(_encoder(value, 0)).encode()


def decode_object(payload: bytes) -> Object:
    """Return the one JSON object that `payload` is.

    Raises:
        ProtocolError: when it is anything else.
    """
    try:
        text = payload.decode("utf-8")
        value, end = _scanner(text, 0)
        if text.count("[") + text.count("{") > MAX_DEPTH:
            _refuse_depth(value)
        if "\\u" in text:
            _refuse_surrogates(value)
    # SystemError: without the `json` package loaded, the scanner of Python 3.11 finds no error to raise.
    except (ValueError, StopIteration, RecursionError, SystemError) as error:
        raise ProtocolError(f"payload is not a strict JSON object: {type(error).__name__}") from error
    if end != len(text) or not isinstance(value, dict):
        raise ProtocolError("payload is not exactly one JSON object")
    return value


def _refuse_depth(value: Value) -> None:
    """Refuse what is nested deeper than `MAX_DEPTH`; the parser itself stops at the interpreter's limit."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Value] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if not inner:
            return
        level = inner
    raise ValueError("too deep")


def _refuse_surrogates(value: Value) -> None:
    "".join(_encoder(value, 0)).encode("utf-8")


def _object(pairs: list[tuple[str, Value]]) -> Object:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("duplicate name")
    return made


def _integer(text: str) -> int:
    if len(text) > _INTEGER_CHARACTERS:
        raise ValueError("integer too large")
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("number too large")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _default(value: object) -> NoReturn:
    raise ValueError(f"{type(value).__name__} has no JSON form")


class _Rules:
    """What the C scanner asks of its context."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_object)
    parse_float = staticmethod(_number)
    parse_int = staticmethod(_integer)
    parse_constant = staticmethod(_constant)
    memo: dict[str, str] = {}  # noqa: RUF012 (the C scanner wants one dict; it empties it after each call)


_scanner = make_scanner(_Rules)  # type: ignore[arg-type]  # any object with these attributes will do
# markers=None: no check for cycles, our values are trees; the rest in the order that json.encoder uses.
_encoder = make_encoder(None, _default, encode_basestring, None, ":", ",", False, False, False)  # noqa: FBT003 (C, positional)
