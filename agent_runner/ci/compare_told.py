"""Show a comparison of results: tables of at most 80 columns, JSON, a page with plots. Pure: text out."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from agent_runner.ci.annotations import log_line
from agent_runner.package import pairlock_version
from agent_runner.report.page import asset, environment
from agent_runner.report.quantity import number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent_runner.ci.comparing import Row, Side
    from policies.canonical import Plain

_NAME: Final = 30
_MICROS: Final = 1_000_000
WIDTH: Final = 400
"""Of a plot's box; a case is ROW high in it."""
ROW: Final = 28


def compare_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yield two tables of at most 80 columns: how often cases pass, and what a run of them takes."""
    yield f"{'':<7} {'case':<{_NAME}} {'passed':>9} -> {'':<9} 95 %"
    for row in rows:
        passed = f"{_passed(row.before):>9} -> {_passed(row.after):<9}"
        yield f"{row.change:<7} {_name(row.name)} {passed} {_interval(row.after)}".rstrip()
    yield ""
    yield f"{'a run of':<{_NAME}} {'seconds':>16} {'tokens':>16} {'US$':>15}"
    for row in rows:
        seconds = _pair(row, lambda side: _short(side.seconds, 1))
        tokens = _pair(row, lambda side: _short(side.tokens, 0))
        cost = _pair(row, lambda side: _short(side.cost_micros / _MICROS, 3))
        yield f"{_name(row.name)} {seconds:>16} {tokens:>16} {cost:>15}"
    yield ""
    changes = [row.change for row in rows]
    words = ("worse", "gone", "better", "same", "new")
    yield ", ".join(f"{changes.count(word)} {word}" for word in words if word in changes) or "no cases"


def compare_as_plain(rows: Sequence[Row]) -> dict[str, Plain]:
    """Return a comparison as plain values for JSON."""
    return {
        "version": 1,
        "cases": [
            {
                "name": row.name,
                "change": row.change,
                "before": _side_as_plain(row.before),
                "after": _side_as_plain(row.after),
            }
            for row in rows
        ],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One side of a case in a plot, in the plot's units."""

    side: str
    """`before` or `after`."""
    across: float
    low: float
    high: float
    """What stands around it; the same as `across` where nothing does."""
    down: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot of every case: two marks each, on one scale."""

    title: str
    kind: str
    """`share`, points with their intervals; or `bars`."""
    top: str
    """What the right edge stands for."""
    marks: tuple[Mark, ...]


def compare_page(rows: Sequence[Row], *, before: str, after: str) -> str:
    """Return one page of HTML with tables and plots, which holds everything it needs and may reach nothing.

    Args:
        rows: The cases.
        before: What the first folder is called.
        after: What the second is called.
    """
    style = Markup(asset("report.css") + asset("compare.css"))  # noqa: S704 - files of this package
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        environment()
        .get_template("compare.html.j2")
        .render(
            rows=rows,
            plots=_plots(rows),
            before=before,
            after=after,
            box=(WIDTH, ROW * len(rows)),
            row=ROW,
            passed=_passed,
            interval=_interval,
            takes=_TAKES,
            style=style,
            content_policy=policy,
            version=pairlock_version(),
        )
    )


_TAKES: Final[tuple[tuple[str, Callable[[Side], float], Callable[[float], str]], ...]] = (
    ("seconds", lambda side: side.seconds, lambda value: f"{value:.1f} s"),
    ("tokens", lambda side: side.tokens, lambda value: number(round(value))),
    ("cost", lambda side: side.cost_micros, lambda value: f"${value / _MICROS:.4f}"),
)


def _plots(rows: Sequence[Row]) -> list[Plot]:
    found = [Plot(title="share that passed", kind="share", top="100 %", marks=tuple(_shares(rows)))]
    for name, value, told in _TAKES:
        most = max((value(side) for row in rows for side in (row.before, row.after) if side), default=0.0)
        if most > 0:
            marks = tuple(_bars(rows, value, told, most))
            found.append(Plot(title=f"{name} of a run", kind="bars", top=told(most), marks=marks))
    return found


def _shares(rows: Sequence[Row]) -> Iterator[Mark]:
    for side, name, down in _placed(rows):
        low, high = side.interval
        yield Mark(
            side=name,
            across=_rounded(WIDTH * side.share),
            low=_rounded(WIDTH * low),
            high=_rounded(WIDTH * high),
            down=down,
            label=_passed(side),
        )


def _bars(
    rows: Sequence[Row], value: Callable[[Side], float], told: Callable[[float], str], most: float
) -> Iterator[Mark]:
    for side, name, down in _placed(rows):
        across = _rounded(WIDTH * value(side) / most)
        yield Mark(side=name, across=across, low=across, high=across, down=down, label=told(value(side)))


def _placed(rows: Sequence[Row]) -> Iterator[tuple[Side, str, float]]:
    """Yield each side with its name and how far down it stands."""
    for place, row in enumerate(rows):
        for side, name, share in ((row.before, "before", 0.3), (row.after, "after", 0.7)):
            if side is not None:
                yield side, name, ROW * (place + share)


def _rounded(value: float) -> float:
    return round(value, 1)


def _passed(side: Side | None) -> str:
    return f"{side.passed} of {side.runs}" if side else "-"


def _interval(side: Side | None) -> str:
    if side is None or side.runs == 1:
        return ""
    low, high = side.interval
    return f"{low:.0%} to {high:.0%}"


def _pair(row: Row, told: Callable[[Side], str]) -> str:
    return " -> ".join(told(side) if side else "-" for side in (row.before, row.after))


def _short(value: float, places: int) -> str:
    """Return a figure in at most six characters."""
    for factor, unit in ((1, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")):
        if value / factor < 10_000:
            shown = f"{value / factor:.{places}f}"
            return (shown if len(shown) < 6 else f"{value / factor:.0f}") + unit
    return "> 10 T"


def _name(name: str) -> str:
    shown = log_line(name)
    return f"{shown:<{_NAME}}" if len(shown) <= _NAME else f"{shown[: _NAME - 3]}..."


def _side_as_plain(side: Side | None) -> dict[str, Plain] | None:
    if side is None:
        return None
    low, high = side.interval
    return {
        "runs": side.runs,
        "passed": side.passed,
        "low": round(low, 4),
        "high": round(high, 4),
        "seconds": round(side.seconds, 3),
        "turns": round(side.turns, 2),
        "tokens": round(side.tokens, 1),
        "cost_micros": round(side.cost_micros, 1),
    }
