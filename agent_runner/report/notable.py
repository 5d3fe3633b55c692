"""Gather what stands out in a session for the top of its page: denials first, alike ones together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent_runner.report.step import Why
from agent_runner.report.visible import short
from audit.summary import spelled_argv

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent_runner.report.step import Step, Tag

MOST_ROWS: Final = 12
MOST_PLACES: Final = 5
LONGEST: Final = 160
_ORDER: Final[tuple[Tag, ...]] = ("broken", "denied", "noted", "asked", "failed")
_ASIDE: Final = frozenset({"allowed"})
"""Tags that say nothing new of what stands out, but of a question that was put to a person."""


@dataclass(slots=True, kw_only=True)
class Alike:
    """Steps that stand out for the same reason.

    Attributes:
        tag: What they have in common: the first of `broken`, `denied`, `noted`, `asked`, `failed` that fits.
        tags: What the first of them says of itself.
        is_limit: Whether they are bounds that were reached.
        what: What the first of them was, on one line.
        why: Why, where a decision says so.
        rule: The rule that made the decision; empty where none did.
        count: How many they are.
        places: The entries of the first few.
    """

    tag: Tag
    tags: tuple[Tag, ...]
    is_limit: bool
    what: str
    why: str
    rule: str
    count: int = 0
    places: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notable:
    """What stands out in a session.

    Attributes:
        rows: The most important, in order.
        left_out: Steps that stand out and are in no row.
    """

    rows: tuple[Alike, ...]
    left_out: int


def notable(steps: Iterable[Step]) -> Notable:
    """Return what stands out among steps: first what does not hold, then what was denied, and so on."""
    found: dict[tuple[str, ...], Alike] = {}
    for step in steps:
        tag = next((tag for tag in _ORDER if tag in step.tags), None)
        if tag is None:
            continue
        why = next((part for part in step.parts if isinstance(part, Why)), None)
        alike = found.setdefault(_kind(tag, step, why), _first(tag, step, why))
        alike.count += 1
        if len(alike.places) < MOST_PLACES:
            alike.places.append(step.seq)
    rows = sorted(found.values(), key=_rank)
    return Notable(rows=tuple(rows[:MOST_ROWS]), left_out=sum(alike.count for alike in rows[MOST_ROWS:]))


def _rank(alike: Alike) -> int:
    return _ORDER.index("denied" if alike.is_limit else alike.tag)


def _kind(tag: Tag, step: Step, why: Why | None) -> tuple[str, ...]:
    """Return what makes two steps alike: of connections the reason counts, of all else the command too."""
    reason = (why.code, why.rule) if why else ("", "")
    return (tag, step.kind, "" if step.kind == "egress" else step.name, *reason)


def _first(tag: Tag, step: Step, why: Why | None) -> Alike:
    what = spelled_argv(step.words) if step.words else f"{step.name} {step.title}".strip()
    return Alike(
        tag=tag,
        tags=tuple(step.tags) if tag == "asked" else tuple(tag for tag in step.tags if tag not in _ASIDE),
        is_limit=step.kind == "limit",
        what=short(what, LONGEST),
        why=short(f"{why.code}: {why.message}", 2 * LONGEST) if why else "",
        rule=short(why.rule, LONGEST) if why else "",
    )
