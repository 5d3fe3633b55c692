"""Appointments, and the time between them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from freetime.duration import parse_duration
from freetime.interval import Interval, merged


@dataclass(frozen=True)
class Appointment:
    """Something that takes somebody's time."""

    when: Interval
    title: str = ""

    @classmethod
    def of(cls, start: str, duration: str, title: str = "") -> "Appointment":
        """Make one from texts: a date and time, and a duration, as ISO 8601 has both."""
        begins = datetime.fromisoformat(start)
        return cls(Interval(begins, begins + parse_duration(duration)), title)


def free_slots(
    appointments: Iterable[Appointment], *, opening: datetime, closing: datetime, at_least: timedelta
) -> list[Interval]:
    """Return the spans of a day in which nobody has an appointment, in order.

    Args:
        appointments: Of all people together, in any order; they may overlap.
        opening: When the day begins.
        closing: When it ends.
        at_least: Shorter spans are left out.
    """
    day = Interval(opening, closing)
    busy = merged(part for appointment in appointments if (part := appointment.when.clipped(day)))
    edges = [opening, *(edge for interval in busy for edge in (interval.start, interval.end)), closing]
    free = (Interval(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True))
    return [slot for slot in free if slot.length >= at_least]
