"""Draw how much of a budget is used: a bar in plain characters, readable without colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent_runner.budget_state import BudgetExceeded

WIDTH: Final = 20
_MICROS: Final = "millionths of a US dollar"
_STEPS: Final = (("G", 10**9), ("M", 10**6), ("k", 10**3))
_SIZES: Final = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def bar(share: float, *, width: int = WIDTH) -> str:
    """Return a bar: `[####......]`; what is used at all shows, and only what is used up is full."""
    filled = min(width, int(share * width))
    if 0 < share < 1:
        filled = min(width - 1, max(1, filled))
    return f"[{'#' * filled}{'.' * (width - filled)}]"


def amount(count: int, unit: str) -> str:
    """Return a count in the unit that people read: `12k`, `1.5 MiB`, `$0.45`, `3m 20s`."""
    if unit == _MICROS:
        return f"${count / 1_000_000:.2f}"
    if unit == "seconds":
        return f"{count // 3600}h {count % 3600 // 60}m" if count >= 3600 else f"{count // 60}m {count % 60}s"
    for name, size in _SIZES if unit == "bytes" else _STEPS:
        if count >= size:
            number = f"{count / size:.1f}".removesuffix(".0")
            return f"{number} {name}" if unit == "bytes" else f"{number}{name}"
    return f"{count} B" if unit == "bytes" else str(count)


def budget_line(state: BudgetExceeded, *, width: int = WIDTH) -> str:
    """Return one budget on a line: its bar, what is used, what may be."""
    used, bound = amount(state.observed, state.unit), amount(state.bound, state.unit)
    return f"{bar(state.share, width=width)} {state.share:>4.0%}  {state.name}: {used} of {bound}"
