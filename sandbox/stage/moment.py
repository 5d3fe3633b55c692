"""Say when a session started by the clock that the kernel stamps files with, and whether it ran on since."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_COARSE: Final = 5
"""CLOCK_REALTIME_COARSE (linux/time.h): what the kernel writes as a file's ctime is never behind it."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_STEP_NS: Final = 1_000_000_000
"""The clock was set back when it lost more than this against the time since boot: a leap second is no step.

Bringing a clock right slowly changes both alike (clock_gettime(2), CLOCK_MONOTONIC).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A moment by the kernel's own stamps: a file whose ctime is earlier has not been changed since."""

    wall_ns: int
    """Nanoseconds since 1970; what happens later is stamped with this or more, what came before with less."""
    since_boot_ns: int
    """The same moment by the clock that nobody sets, nanoseconds."""
    boot: str
    """Which start of the machine that clock counts from."""

    @classmethod
    def now(cls) -> Self:
        """Return this moment once the stamps' clock is past it (some 4 ms): no earlier stamp shares it.

        Since Linux 6.13 a file that somebody looked at is stamped finer, up to a tick ahead of that clock.
        """
        called = time.time_ns()
        while (wall := _wall_ns()) <= called:
            time.sleep(0.0005)
        return cls(wall_ns=wall, since_boot_ns=_since_boot_ns(), boot=_boot())

    def holds(self) -> bool:
        """Tell whether stamps made since can be compared with it: nobody has set the clock back."""
        wall = _wall_ns() - self.wall_ns
        if _boot() != self.boot:
            return wall >= 0
        boot = _since_boot_ns() - self.since_boot_ns
        return boot - wall <= _STEP_NS


def _wall_ns() -> int:
    try:
        return time.clock_gettime_ns(_COARSE)
    except OSError:  # a kernel without that clock: nothing is stamped with it either
        return time.time_ns()


def _since_boot_ns() -> int:
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _boot() -> str:
    with suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return ""
