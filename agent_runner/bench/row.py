"""Hold one line of the table, and lay the table out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    unit: str
    ours: float
    """The median."""
    floor: float | None
    """The same without us, measured in the same run; None where there is none."""
    most_ratio: float | None = None
    """What the documentation promises of ours to floor; None where it promises nothing."""
    most: float | None = None
    """The same of ours alone."""

    @property
    def ratio(self) -> float | None:
        """Return ours to floor."""
        return self.ours / self.floor if self.floor else None

    @property
    def holds(self) -> bool | None:
        """Tell whether the promise holds here; None where there is none."""
        if self.most_ratio is not None and self.ratio is not None:
            return self.ratio <= self.most_ratio
        return self.ours <= self.most if self.most is not None else None

    def as_json(self) -> dict[str, object]:
        """Return the row as a JSON-ready mapping."""
        return {
            "name": self.name,
            "unit": self.unit,
            "floor": self.floor,
            "ours": self.ours,
            "ratio": self.ratio,
            "promised_ratio": self.most_ratio,
            "promised": self.most,
            "holds": self.holds,
        }


def table(rows: Iterable[Row]) -> list[str]:
    """Return the table, a line each, within 80 columns."""
    lines = [f"{'':<33}{'floor':>9}{'ours':>9}{'':<4}{'ratio':>6}  promised"]
    for row in rows:
        floor = "" if row.floor is None else f"{row.floor:.3g}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append(
            f"{row.name:<33}{floor:>9}{row.ours:>9.3g} {row.unit:<3}{ratio:>6}  {_promise(row)}".rstrip()
        )
    return lines


def _promise(row: Row) -> str:
    if row.holds is None:
        return ""
    bound = f"{row.most_ratio:g} x" if row.most_ratio is not None else f"{row.most:g} {row.unit}"
    return bound if row.holds else f"{bound}: not here"


def timed(once: Callable[[], object], rounds: int) -> float:
    """Return the median time of a call, in milliseconds."""
    samples = []
    for _ in range(rounds):
        begin = time.perf_counter()
        once()
        samples.append(time.perf_counter() - begin)
    return median(samples) * 1000


async def timed_async(once: Callable[[], Awaitable[object]]) -> float:
    """Return the time of one awaited call, in milliseconds."""
    begin = time.perf_counter()
    await once()
    return (time.perf_counter() - begin) * 1000
