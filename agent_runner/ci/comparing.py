"""Set two folders of results side by side: what passes less often, what it takes. Shows nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_runner.ci.outcome import INTERRUPTED
from agent_runner.ci.rates import wilson
from agent_runner.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Change = Literal["worse", "gone", "better", "same", "new"]
LARGEST_BYTES: Final = 256 * 1024 * 1024
LARGEST_NUMBER: Final = 2**53
"""Of seconds, tokens and the like: averages of them are exact enough, and never overflow."""


class _Told(BaseModel):
    """One task of a `results.json`, as far as it is compared."""

    model_config = ConfigDict(frozen=True, strict=True)

    task: str
    variant: str
    verdict: Literal["passed", "failed", "skipped"]
    exit_code: int
    seconds: float = Field(ge=0, le=LARGEST_NUMBER, allow_inf_nan=False)
    turns: int = Field(ge=0, le=LARGEST_NUMBER)
    tokens: int = Field(ge=0, le=LARGEST_NUMBER)
    cost_micros: int = Field(ge=0, le=LARGEST_NUMBER)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    version: Literal[1]
    tasks: tuple[_Told, ...] = Field(strict=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What came of one case in one folder; where it was repeated, a run's average."""

    runs: int
    passed: int
    seconds: float
    turns: float
    tokens: float
    cost_micros: float
    """Millionths of a US dollar."""

    @property
    def share(self) -> float:
        """Return the share that passed."""
        return self.passed / self.runs

    @property
    def interval(self) -> tuple[float, float]:
        """Return the interval of 95 % around it (Wilson)."""
        return wilson(self.runs, self.passed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case in both folders."""

    name: str
    before: Side | None
    after: Side | None
    """At least one of the two is there."""

    @property
    def change(self) -> Change:
        """Return what became of it.

        Worse is what passed always and no longer does, or whose share has fallen beyond chance: the
        intervals of 95 % do not touch. Better is the same the other way round.
        """
        if self.after is None:
            return "gone"
        if self.before is None:
            return "new"
        if _beats(self.before, self.after):
            return "worse"
        return "better" if _beats(self.after, self.before) else "same"


def _beats(one: Side, other: Side) -> bool:
    always = one.passed == one.runs and other.passed < other.runs
    return always or one.interval[0] > other.interval[1]


def compared(before: Path, after: Path) -> list[Row]:
    """Return the cases of two folders, as the first has them, and what only the second has.

    Args:
        before: The folder of one run's results.
        after: The folder of another.

    Raises:
        InvalidInputError: When one of them holds no results.
    """
    first, second = _sides(before), _sides(after)
    return [Row(name=name, before=first.get(name), after=second.get(name)) for name in {**first, **second}]


def is_worse(rows: Sequence[Row]) -> bool:
    """Return whether anything is worse, or gone: what is no longer tried does not pass."""
    return any(row.change in {"worse", "gone"} for row in rows)


def _sides(folder: Path) -> dict[str, Side]:
    groups: dict[str, list[_Told]] = {}
    for told in _read(folder).tasks:
        if told.verdict != "skipped" and told.exit_code != INTERRUPTED:
            groups.setdefault(f"{told.task}.{told.variant}" if told.variant else told.task, []).append(told)
    return {name: _side(runs) for name, runs in groups.items()}


def _side(runs: Sequence[_Told]) -> Side:
    count = len(runs)
    return Side(
        runs=count,
        passed=sum(told.verdict == "passed" for told in runs),
        seconds=sum(told.seconds for told in runs) / count,
        turns=sum(told.turns for told in runs) / count,
        tokens=sum(told.tokens for told in runs) / count,
        cost_micros=sum(told.cost_micros for told in runs) / count,
    )


def _read(folder: Path) -> _File:
    path = folder / "results.json"
    hint = "name the `--output` folder of a run that has ended"
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise InvalidInputError(f"`{path}` has more than {LARGEST_BYTES} bytes", hint=hint)
        return _File.model_validate(json.loads(content))
    except OSError as error:
        raise InvalidInputError(
            f"`{path}` cannot be read: {str(error.strerror).lower()}", hint=hint
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InvalidInputError(
            f"`{path}` holds no results of version 1: {place}: {first['msg'].lower()}", hint=hint
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            f"`{path}` holds no results of version 1: it is not JSON that can be read", hint=hint
        ) from error
