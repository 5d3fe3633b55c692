"""Spans of time, half open: the end is not in them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, order=True)
class Interval:
    """A span of time."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"the end `{self.end}` is before the start `{self.start}`")

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    def clipped(self, within: "Interval") -> "Interval | None":
        """Return the part that lies in another interval, None when there is none."""
        start, end = max(self.start, within.start), min(self.end, within.end)
        return Interval(start, end) if start < end else None


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the same time as few intervals: sorted, and none touches another."""
    result: list[Interval] = []
    for interval in sorted(intervals):
        if result and interval.start <= result[-1].end:
            result[-1] = Interval(result[-1].start, interval.end)
        else:
            result.append(interval)
    return result
