"""Say where in a session something stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """One entry's place.

    Attributes:
        seq: The entry's number, counted from 0.
        at: When, by the writer's wall clock.
        ms: When, in milliseconds of the session's running time.
    """

    seq: int
    at: str
    ms: int
