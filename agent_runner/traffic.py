"""Count what a session's egress gates let through, from what the ledger tells of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from audit import event
from sandbox.egress.rules import Crossed

if TYPE_CHECKING:
    from audit.fields import Event


_BUDGETS: Final = ("sent_bytes", "received_bytes", "requests")


class Traffic:
    """What a session's gates have let through, under which rule; connections that still run do not count.

    A runner that is killed tells no ends, so what was open then is not counted either.
    """

    def __init__(self) -> None:
        self._crossed: dict[tuple[str, str], Crossed] = {}
        self.spent: event.LimitHit | None = None
        """The last budget of a gate that was found spent; a bound on connections at once is none."""

    @property
    def sent_bytes(self) -> int:
        """Bytes that left."""
        return sum(each.sent_bytes for each in self._crossed.values())

    @property
    def received_bytes(self) -> int:
        """Bytes that came in."""
        return sum(each.received_bytes for each in self._crossed.values())

    def under(self, owner: str) -> tuple[Crossed, ...]:
        """Return what one gate has let through: the session's, or a connector's."""
        return tuple(each for (whose, _), each in self._crossed.items() if whose == owner)

    def of(self, owner: str) -> Crossed:
        """Return what one gate has let through in all."""
        parts = self.under(owner)
        return Crossed(
            sent_bytes=sum(part.sent_bytes for part in parts),
            received_bytes=sum(part.received_bytes for part in parts),
            requests=sum(part.requests for part in parts),
        )

    def take(self, happened: Event) -> None:
        """Count what has ended; a tunnel that was read counts by its requests."""
        if isinstance(happened, event.LimitHit) and happened.limit.endswith(_BUDGETS):
            self.spent = happened
        if not isinstance(happened, event.EgressClosed):
            return
        owner = happened.connection.rpartition("/")[0]
        before = self._crossed.get((owner, happened.rule), Crossed(rule=happened.rule))
        self._crossed[owner, happened.rule] = replace(
            before,
            sent_bytes=before.sent_bytes + happened.sent_bytes,
            received_bytes=before.received_bytes + happened.received_bytes,
            requests=before.requests + requests_of(happened),
        )


def requests_of(ended: event.EgressClosed) -> int:
    """Return for how many requests an end counts; a tunnel that was read counts by its requests' ends."""
    was_read = not ended.method and not ended.address and ended.requests
    return 0 if was_read else 1
