"""Where time comes from: handed in, so that a test can turn it back."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Two clocks: the wall's, which is a claim, and one that never goes back while the machine runs."""

    def wall_us(self) -> int:
        """Return microseconds since 1970, UTC."""
        ...

    def monotonic_us(self) -> int:
        """Return microseconds from an arbitrary start."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's own clocks."""

    def wall_us(self) -> int:
        """Return microseconds since 1970, UTC."""
        return time.time_ns() // 1000

    def monotonic_us(self) -> int:
        """Return microseconds since an arbitrary start, usually the machine's."""
        return time.monotonic_ns() // 1000


def spell(wall_us: int) -> str:
    """Return a time as the ledger spells it: ``2026-01-31T23:59:59.000001Z``.

    Args:
        wall_us: Microseconds since 1970, UTC.
    """
    seconds, micros = divmod(wall_us, 1_000_000)
    moment = _EPOCH + timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"
