"""Say how much of one budget is used, to a person and to the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExceeded:
    """Which budget ran out."""

    name: str
    bound: int
    observed: int
    unit: str

    @property
    def reason(self) -> str:
        """Return one line that names it."""
        return f"the budget of {self.name} ran out: {self.observed} of {self.bound} {self.unit}"

    @property
    def share(self) -> float:
        """Return which part of it is used."""
        return self.observed / max(1, self.bound)


class Measure(NamedTuple):
    """How much of one budget is used; several are taken a turn, and few become a state."""

    name: str
    bound: int
    observed: int
    unit: str

    def state(self) -> BudgetExceeded:
        """Return the same, to be told."""
        return BudgetExceeded(name=self.name, bound=self.bound, observed=self.observed, unit=self.unit)


def warning_of(state: BudgetExceeded) -> str:
    """Return what the model is told of a budget that is nearly used up."""
    return (
        f"{_WARNING}{state.name}: {state.observed} of {state.bound} {state.unit} are used; "
        "finish what matters most and call `finish`"
    )


_WARNING: Final = "note: little is left of the budget of "


def warned_of(text: str) -> str:
    """Return the budget that a message warned of; empty when it is no warning."""
    return text.removeprefix(_WARNING).partition(":")[0] if text.startswith(_WARNING) else ""
