"""Keep a session's steps in order, as many as a page can hold, and remember which have changed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent_runner.report.moment import Moment
    from agent_runner.report.step import Kind, Step

MOST: Final = 40_000
"""Steps that a page shows, whatever they are."""
MOST_NOTABLE: Final = 10_000
"""Denials, questions to a person, limits and the like that it shows beyond those."""


class Steps:
    """The steps of one session.

    Args:
        most: How many are kept, whatever they are.
        most_notable: How many notable ones are kept beyond those.

    Attributes:
        kept: Those that are shown.
        left_out: Kind -> how many are not.
    """

    def __init__(self, *, most: int = MOST, most_notable: int = MOST_NOTABLE) -> None:
        self.kept: list[Step] = []
        self.left_out: Counter[Kind] = Counter()
        self._most = most
        self._most_notable = most_notable
        self._places: dict[int, int] = {}
        self._changed: set[int] = set()

    def add(self, moment: Moment, step: Step) -> Step:
        """Keep a step if there is room, and return it."""
        room = self._most + (self._most_notable if step.is_notable else 0)
        if len(self.kept) >= room:
            self.left_out[step.kind] += 1
            return step
        self._places[moment.seq] = len(self.kept)
        self.kept.append(step)
        self.changed(step)
        return step

    def changed(self, step: Step) -> None:
        """Remember that a step has grown."""
        place = self._places.get(step.seq)
        if place is not None:
            self._changed.add(place)

    def take_changed(self) -> list[tuple[int, Step]]:
        """Return what is new or has grown since this was last asked, with its place."""
        places, self._changed = sorted(self._changed), set()
        return [(place, self.kept[place]) for place in places]
