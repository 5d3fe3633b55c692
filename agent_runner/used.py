"""Say what a session used, and what crossed its egress gate. Nothing is counted or bounded here."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Used(NamedTuple):
    """What a session had used when it was left; made several times a turn, and quickly."""

    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_micros: int = 0
    """Millionths of a US dollar."""
    seconds: float = 0.0
    """Time during which it ran."""
    warned: frozenset[str] = frozenset()
    """The budgets of which the model was warned."""
    output_bytes: int = 0
    """Output of its actions."""
    actions: int = 0
    sent_bytes: int = 0
    """Through the egress gate, of delegated sessions: a session's own is told by its gate."""
    received_bytes: int = 0
    requests: int = 0
    children: int = 0
    """Sessions that were started below it."""

    def beside(self, other: Used) -> Used:
        """Return both together; time and warnings are those of the first: the other's ran meanwhile."""
        return Used(
            turns=self.turns + other.turns,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cost_micros=self.cost_micros + other.cost_micros,
            seconds=self.seconds,
            warned=self.warned,
            output_bytes=self.output_bytes + other.output_bytes,
            actions=self.actions + other.actions,
            sent_bytes=self.sent_bytes + other.sent_bytes,
            received_bytes=self.received_bytes + other.received_bytes,
            requests=self.requests + other.requests,
            children=self.children + other.children,
        )


class Crossing(Protocol):
    """What crossed an egress gate."""

    @property
    def sent_bytes(self) -> int:
        """Bytes that left."""
        ...

    @property
    def received_bytes(self) -> int:
        """Bytes that came in."""
        ...

    @property
    def requests(self) -> int:
        """Requests, and connections whose requests are not seen."""
        ...
