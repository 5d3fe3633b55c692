"""Sizes, durations and counts as people write them: `64MiB`, `30m`, `400k`. A bare number is never a size."""

from __future__ import annotations

import re
from typing import Final

from policies.errors import BadValueError
from policies.wording import quoted

_SIZES: Final = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_DURATIONS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_COUNTS: Final = {"k": 10**3, "M": 10**6, "G": 10**9}
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,15})([A-Za-z]*)")
LARGEST: Final = 2**53 - 1  # what JSON readers everywhere hold exactly


class Bytes(int):
    """A number of bytes; zero means none at all."""

    @property
    def text(self) -> str:
        """The size as it is written, in the largest binary unit that divides it."""
        return _shortest(self, {"TiB": 2**40, "GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "B": 1})


class Seconds(int):
    """A number of whole seconds; zero means no time at all."""

    @property
    def text(self) -> str:
        """The duration as it is written."""
        return _shortest(self, {"d": 86400, "h": 3600, "m": 60, "s": 1})


class Count(int):
    """A number of things; zero means none at all."""

    @property
    def text(self) -> str:
        """The count as it is written."""
        return _shortest(self, {"G": 10**9, "M": 10**6, "k": 10**3, "": 1})


def _shortest(number: int, units: dict[str, int]) -> str:
    for unit, size in units.items():
        if number and number % size == 0:
            return f"{number // size}{unit}"
    return f"0{list(units)[-1]}"


def _parts(value: object, *, what: str, example: str) -> tuple[int, str]:
    found = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BadValueError(
            f"{quoted(value)} is not {what}", hint=f"write a whole number and a unit, as in `{example}`"
        )
    return int(found[1]), found[2]


def _bounded(number: int, *, value: object) -> int:
    if not 0 <= number <= LARGEST:
        raise BadValueError(f"{quoted(value)} is out of range; expected 0 to {LARGEST}")
    return number


def parse_size(value: object) -> Bytes:
    """Read a size.

    Args:
        value: What was written, for example `64MiB`.

    Returns:
        The number of bytes.

    Raises:
        BadValueError: When it is no whole number with a unit of bytes.
    """
    if type(value) is Bytes:
        return value
    number, unit = _parts(value, what="a size", example="64MiB")
    if unit not in _SIZES:
        raise BadValueError(
            f"{quoted(value)} has no unit of size", hint=f"units are {', '.join(_SIZES)}, as in `64MiB`"
        )
    return Bytes(_bounded(number * _SIZES[unit], value=value))


def parse_duration(value: object) -> Seconds:
    """Read a duration.

    Args:
        value: What was written, for example `30m`.

    Returns:
        The number of seconds.

    Raises:
        BadValueError: When it is no whole number with a unit of time.
    """
    if type(value) is Seconds:
        return value
    number, unit = _parts(value, what="a duration", example="30m")
    if unit not in _DURATIONS:
        raise BadValueError(f"{quoted(value)} has no unit of time", hint="units are s, m, h, d, as in `30m`")
    return Seconds(_bounded(number * _DURATIONS[unit], value=value))


def parse_count(value: object) -> Count:
    """Read a count.

    Args:
        value: A whole number, or one with `k`, `M` or `G`, for example `400k`.

    Returns:
        The number.

    Raises:
        BadValueError: When it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return Count(_bounded(value, value=value))
    number, unit = _parts(value, what="a count", example="400k")
    if unit not in _COUNTS:
        raise BadValueError(
            f"{quoted(value)} has no unit of counts", hint="write a whole number, as in `2000` or `400k`"
        )
    return Count(_bounded(number * _COUNTS[unit], value=value))
