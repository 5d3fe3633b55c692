"""Read JSON that somebody else wrote, strictly: what two readers could take in two ways is none."""

from __future__ import annotations

import json
import math
from typing import Final, NoReturn

DEEPEST: Final = 64
"""Lists and objects within one another; readers of other languages stop at 100 and more."""
_DIGITS: Final = 308
"""Of a whole number: every reader has a place for those, if only among floating-point numbers."""


def read_json(text: str) -> object:
    """Return what a text of JSON holds.

    Raises:
        ValueError: When it is none, an object names a member twice, a number is NaN, infinite or too large,
            or it is nested too deeply (RFC 8259, clauses 4, 6 and 9).
    """
    try:
        value: object = json.loads(
            text,
            object_pairs_hook=_once,
            parse_constant=_no_number,
            parse_float=_fraction,
            parse_int=_whole,
        )
    except RecursionError:
        raise _too_deep() from None
    _require_shallow(value)
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name stands twice")
    return made


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"`{name}` is not JSON")


def _fraction(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number `{digits[:40]}` is too large")
    return number


def _whole(digits: str) -> int:
    if len(digits.removeprefix("-")) > _DIGITS:
        raise ValueError(f"a number has more than {_DIGITS} digits")
    return int(digits)


def _require_shallow(value: object) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {DEEPEST} deep")
