"""Count what a session's egress gates let through, from what the ledger tells of it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from audit import event
from sandbox.egress.rules import Crossed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from audit.fields import Event

    Known = Mapping[str, Mapping[str, Crossed]]
    """Session above -> rule -> what its gate had let through when the bounds of one below were set."""

_BUDGETS: Final = ("sent_bytes", "received_bytes", "requests")
_MOST_DIGITS: Final = 15


class Pot:
    """The gates of a session and of those below it, which have their budgets in common.

    What crosses one is told the others when its connection ends, so their sum is passed by what is open.
    """

    def __init__(self) -> None:
        self._gates: dict[str, Callable[[Crossed], None]] = {}
        self._told: dict[str, dict[str, Crossed]] = {}

    @contextmanager
    def shared(
        self, session: str, count: Callable[[Crossed], None], *, known: Known = MappingProxyType({})
    ) -> Iterator[None]:
        """Let a session's gate be told of the others while the block lasts.

        Args:
            session: Its id.
            count: Told at once what crossed the gates above since the session's bounds were set, and then of
                each connection's end.
            known: What its bounds are less already.
        """
        self._gates[session] = count
        try:
            for above, before in known.items():
                for rule, now in self.told(above).items():
                    if (since := _since(before.get(rule, Crossed()), now)) != Crossed(rule=rule):
                        count(since)
            yield
        finally:
            del self._gates[session]

    def told(self, session: str) -> dict[str, Crossed]:
        """Return what a session's gate has let through so far, under which rule."""
        return dict(self._told.get(session, {}))

    def tell(self, session: str, ended: event.EgressClosed) -> None:
        """Tell the other gates what crossed a session's, and those that join later."""
        crossed = Crossed(
            rule=ended.rule,
            sent_bytes=ended.sent_bytes,
            received_bytes=ended.received_bytes,
            requests=requests_of(ended),
        )
        told = self._told.setdefault(session, {})
        told[ended.rule] = _sum(ended.rule, (crossed, told.get(ended.rule, Crossed())))
        for other, count in self._gates.items():
            if other != session:
                count(crossed)


class Traffic:
    """What a session's gates have let through, under which rule; connections that still run do not count.

    A runner that is killed tells no ends, so what was open then is not counted either.

    Args:
        pot: Shared with the sessions above; one of its own for a session that a person started.
        known: What of theirs this session's bounds are less already.
    """

    def __init__(self, pot: Pot | None = None, known: Known = MappingProxyType({})) -> None:
        self.pot = pot or Pot()
        self.known = known
        self._crossed: dict[tuple[str, str], Crossed] = {}
        self._below: dict[str, Crossed] = {}
        self._numbered: dict[str, int] = {}
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

    def numbered(self, owner: str) -> int:
        """Return the number of the last connection of one gate, and of those before it; 0 for none."""
        return self._numbered.get(owner, 0)

    def of(self, owner: str) -> Crossed:
        """Return what one gate has let through in all."""
        return _sum("", self.under(owner))

    def below(self) -> dict[str, Crossed]:
        """Return what the gates of the sessions below that have ended let through under each rule."""
        return dict(self._below)

    def by_rule(self, owner: str) -> dict[str, Crossed]:
        """Return what one gate, and those of the sessions below, have let through under each rule."""
        both = self.below()
        for each in self.under(owner):
            both[each.rule] = _sum(each.rule, (each, both.get(each.rule, Crossed())))
        return both

    def add_below(self, below: Traffic, owner: str) -> None:
        """Count what a session below, and those below it, have let through.

        Args:
            below: Its traffic.
            owner: Its id.
        """
        for rule, each in below.by_rule(owner).items():
            self._below[rule] = _sum(rule, (each, self._below.get(rule, Crossed())))

    def total(self) -> Crossed:
        """Return what all gates of the session have let through: its own and its connectors'."""
        return _sum("", self._crossed.values())

    def take(self, happened: Event) -> None:
        """Count what has ended; a tunnel that was read counts by its requests."""
        if isinstance(happened, event.LimitHit) and happened.limit.endswith(_BUDGETS):
            self.spent = happened
        if isinstance(happened, event.EgressOpened):
            self._number(happened.connection)
        if isinstance(happened, event.EgressRequested):
            self._number(happened.request)
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

    def _number(self, connection: str) -> None:
        owner, _, name = connection.rpartition("/c")
        if name.isascii() and name.isdecimal() and len(name) <= _MOST_DIGITS:
            self._numbered[owner] = max(self.numbered(owner), int(name))


def _sum(rule: str, parts: Iterable[Crossed]) -> Crossed:
    sent, received, requests = 0, 0, 0
    for part in parts:
        sent += part.sent_bytes
        received += part.received_bytes
        requests += part.requests
    return Crossed(rule=rule, sent_bytes=sent, received_bytes=received, requests=requests)


def _since(before: Crossed, now: Crossed) -> Crossed:
    return replace(
        now,
        sent_bytes=now.sent_bytes - before.sent_bytes,
        received_bytes=now.received_bytes - before.received_bytes,
        requests=now.requests - before.requests,
    )


def requests_of(ended: event.EgressClosed) -> int:
    """Return for how many requests an end counts; a tunnel that was read counts by its requests' ends."""
    was_read = not ended.method and not ended.address and ended.requests
    return 0 if was_read else 1
