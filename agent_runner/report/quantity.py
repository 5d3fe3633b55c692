"""Write quantities with their units, for people."""

from __future__ import annotations


def duration(milliseconds: float) -> str:
    """Return a length of time in at most two units: `12 ms`, `3.4 s`, `2 min 5 s`, `10 min`, `1 h 4 min`."""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(count: int) -> str:
    """Return a number of bytes, in units of 1024 from 10,000 on."""
    if count < 10_000:
        return f"{count} B"
    for unit, factor in (("KiB", 2**10), ("MiB", 2**20), ("GiB", 2**30)):
        if count < 1000 * factor or unit == "GiB":
            return f"{count / factor:.1f} {unit}"
    raise AssertionError  # the loop ends with GiB


def number(count: float) -> str:
    """Return a number with its thousands apart."""
    return f"{count:,.0f}" if count == int(count) else f"{count:,.2f}"
