"""A clock for those who wait for a model's server."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent_runner.outage import GIVEN_UP_SECONDS, Outage


@dataclass
class Clock:
    """A clock that goes on only while somebody sleeps."""

    seconds: float = 0.0
    slept: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.seconds += seconds
        self.slept.append(seconds)

    def now(self) -> float:
        """Return the time."""
        return self.seconds

    @property
    def outage(self) -> Outage:
        """Return an outage by this clock."""
        return self.bounded(GIVEN_UP_SECONDS)

    def bounded(self, given_up_seconds: float) -> Outage:
        """Return one that ends after a time."""
        return Outage(given_up_seconds=given_up_seconds, sleep=self.sleep, monotonic=self.now)

    def tell(self, message: str, /, *, done: int, total: int) -> None:  # noqa: ARG002 - a Progress
        """Keep what a person is told."""
        self.told.append(message)
