"""Read and write durations as ISO 8601 has them."""

import re
from datetime import timedelta

_PATTERN = re.compile(
    r"P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?"
)


class DurationError(ValueError):
    """Raised when a text is not a duration, or one whose length nobody can say."""


def parse_duration(text: str) -> timedelta:
    """Return the duration that a text such as `PT1H30M` stands for."""
    match = _PATTERN.fullmatch(text)
    if match is None or not any(match.groups()):
        raise DurationError(f"`{text}` is not a duration such as `PT1H30M`, `P1DT12H` or `P2W`")
    return timedelta(**{unit: int(number) for unit, number in match.groupdict(default="0").items()})


def show_duration(duration: timedelta) -> str:
    """Return a duration as ISO 8601 has it; the inverse of `parse_duration` up to weeks."""
    if duration < timedelta():
        raise DurationError(f"`{duration}` is negative")
    hours, rest = divmod(duration.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    day = f"{duration.days}D" if duration.days else ""
    time = "".join(
        f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if number
    )
    return f"P{day}{'T' if time else ''}{time}" if day or time else "PT0S"
