"""Find the free time between the appointments of several people."""

from freetime.calendar import Appointment, free_slots
from freetime.duration import DurationError, parse_duration, show_duration
from freetime.interval import Interval, merged

__all__ = [
    "Appointment",
    "DurationError",
    "Interval",
    "free_slots",
    "merged",
    "parse_duration",
    "show_duration",
]
