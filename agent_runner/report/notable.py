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
MOST_TEXTS: Final = 3
LONGEST: Final = 160
_ORDER: Final[tuple[Tag, ...]] = ("broken", "denied", "noted", "asked", "failed")
_ASIDE: Final = frozenset({"allowed"})
"""Tags that say nothing new of what stands out, but of a question that was put to a person."""


@dataclass(slots=True)
class Different:
    """The first few of some texts that are not the same, and how many others there are.

    Attributes:
        most: How many are kept.
        first: Those that are kept, in order.
    """

    most: int = MOST_TEXTS
    first: list[str] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)
    """Hashes of all of them: the texts may be long."""

    def add(self, text: str, longest: int) -> None:
        """Take a text in; it is kept on one line of so many characters, and empty ones are not texts."""
        if not text or hash(text) in self._seen:
            return
        self._seen.add(hash(text))
        if len(self.first) < self.most:
            self.first.append(short(text, longest))

    @property
    def others(self) -> int:
        """How many different ones are not kept."""
        return len(self._seen) - len(self.first)


@dataclass(slots=True, kw_only=True)
class Alike:
    """Steps that stand out for the same reason.

    Attributes:
        tag: What they have in common: the first of `broken`, `denied`, `noted`, `asked`, `failed` that fits.
        tags: What the first of them says of itself.
        is_limit: Whether they are bounds that were reached.
        rule: The rule that made the decision; empty where none did.
        what: What they were, each on one line.
        why: Why, in the words of the decisions; empty where none says so.
        steps: Which they are, by their places among the steps.
        places: The entries of the first few.
    """

    tag: Tag
    tags: tuple[Tag, ...]
    is_limit: bool
    rule: str
    what: Different = field(default_factory=Different)
    why: Different = field(default_factory=Different)
    steps: set[int] = field(default_factory=set)
    places: list[int] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many steps they are."""
        return len(self.steps)

    def take(self, place: int, step: Step, why: Why | None) -> None:
        """Take in a step, or another reason of the last one that was taken in."""
        self.what.add(
            spelled_argv(step.words) if step.words else f"{step.name} {step.title}".strip(), LONGEST
        )
        told = f"{why.code}: {why.message}" if why else ""
        self.why.add("; ".join(filter(None, (told, step.answer))), 2 * LONGEST)
        if place not in self.steps and len(self.places) < MOST_PLACES:
            self.places.append(step.seq)
        self.steps.add(place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notable:
    """What stands out in a session.

    Attributes:
        rows: The most important, in order.
        left_out: Steps that stand out for a reason that is in no row.
    """

    rows: tuple[Alike, ...]
    left_out: int


def notable(steps: Iterable[Step]) -> Notable:
    """Return what stands out among steps: first what does not hold, then what was denied, and so on.

    A step is in a row for each of its reasons: the connections of one action may be refused by several rules.
    """
    found: dict[tuple[str, ...], Alike] = {}
    for place, step in enumerate(steps):
        tag = next((tag for tag in _ORDER if tag in step.tags), None)
        if tag is None:
            continue
        reasons: list[Why | None] = [part for part in step.parts if isinstance(part, Why)]
        for why in reasons or [None]:
            key = _kind(tag, step, why)
            if key not in found:
                found[key] = _row(tag, step, why)
            found[key].take(place, step, why)
    rows = sorted(found.values(), key=_rank)
    left_out = {place for row in rows[MOST_ROWS:] for place in row.steps}
    return Notable(rows=tuple(rows[:MOST_ROWS]), left_out=len(left_out))


def _rank(alike: Alike) -> int:
    return _ORDER.index("denied" if alike.is_limit else alike.tag)


def _kind(tag: Tag, step: Step, why: Why | None) -> tuple[str, ...]:
    """Return what makes two steps alike: of connections the reason counts, of all else the command too.

    Of what was put to a person, it also counts what came of it.
    """
    reason = (why.code, why.rule) if why else ("", "")
    outcome = (*sorted(step.tags), step.answer) if step.answer else ()
    return (tag, step.kind, "" if step.kind == "egress" else step.name, *reason, *outcome)


def _row(tag: Tag, step: Step, why: Why | None) -> Alike:
    return Alike(
        tag=tag,
        tags=tuple(step.tags) if tag == "asked" else tuple(tag for tag in step.tags if tag not in _ASIDE),
        is_limit=step.kind == "limit",
        rule=short(why.rule, LONGEST) if why else "",
    )
