from datetime import datetime, timedelta

from freetime import Appointment, Interval, free_slots

OPENING, CLOSING = datetime(2026, 3, 2, 8), datetime(2026, 3, 2, 18)


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, 2, hour, minute)


def free(*appointments: Appointment, at_least: timedelta = timedelta(minutes=30)) -> list[Interval]:
    return free_slots(appointments, opening=OPENING, closing=CLOSING, at_least=at_least)


def test_an_empty_day_is_free():
    assert free() == [Interval(OPENING, CLOSING)]


def test_the_time_before_between_and_after_is_free():
    slots = free(Appointment.of("2026-03-02T09:00", "PT1H"), Appointment.of("2026-03-02T13:00", "PT45M"))

    assert slots == [Interval(OPENING, at(9)), Interval(at(10), at(13)), Interval(at(13, 45), CLOSING)]


def test_short_gaps_are_left_out():
    slots = free(Appointment.of("2026-03-02T08:20", "PT9H30M"))

    assert slots == []


def test_nobody_is_called_away_from_a_long_meeting_because_a_short_one_ended():
    """A workshop over the whole day, and in the middle of it a call of somebody else's."""
    slots = free(
        Appointment.of("2026-03-02T09:00", "PT8H", "workshop"),
        Appointment.of("2026-03-02T12:00", "PT30M", "call"),
    )

    assert slots == [Interval(OPENING, at(9)), Interval(at(17), CLOSING)]
