"""Keep a page light enough to open: what is too much is cut, and what then has no room is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent_runner.report.step import Json, Step

WHOLE_BYTES: Final = 64 * 2**20
"""What steps may take as they are."""
MOST_BYTES: Final = 96 * 2**20
"""What they may take in all; beyond `WHOLE_BYTES` their long texts are cut."""
LONGEST: Final = 1024
"""Characters of a text in a step that is cut."""
MOST_ITEMS: Final = 12
"""Rows or parts of one."""


@dataclass(slots=True)
class Load:
    """Steps, as a page takes them.

    Attributes:
        steps: Those that it holds.
        cut: How many of them had to be cut.
        left_out: How many it does not hold.
    """

    steps: list[Json] = field(default_factory=list)
    cut: int = 0
    left_out: int = 0


def loaded(steps: Iterable[Step], *, whole_bytes: int = WHOLE_BYTES, most_bytes: int = MOST_BYTES) -> Load:
    """Return as much of the steps as a page can take, the first of them whole.

    Args:
        steps: In order.
        whole_bytes: What they may take as they are.
        most_bytes: What they may take in all.
    """
    load, taken = Load(), 0
    for step in steps:
        told = step.as_json()
        weight = _weight(told)
        if taken + weight > whole_bytes:
            told = _cut(told)
            weight = _weight(told)
            load.cut += 1
        if taken + weight > most_bytes:
            load.left_out += 1
            continue
        taken += weight
        load.steps.append(told)
    return load


def _weight(told: Json) -> int:
    return len(orjson.dumps(told))


def _cut(told: Json) -> Json:
    return {name: _shorter(value) for name, value in told.items()}


def _shorter(value: object) -> object:
    if isinstance(value, str):
        more = len(value) - LONGEST
        return value if more <= 0 else f"{_whole_spellings(value[:LONGEST])}... ({more} more characters)"
    if isinstance(value, list):
        return [_shorter(item) for item in value[:MOST_ITEMS]]
    if isinstance(value, dict):
        return {name: _shorter(item) for name, item in value.items()}
    return value


def _whole_spellings(text: str) -> str:
    """Return the text without a spelled character that was cut through."""
    begun = text.rfind("\x01")
    return text[:begun] if begun > text.rfind("\x02") else text
