"""Count what crosses against its bounds: the session's, and those of each rule. Pure state, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.events import Spent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.egress.rules import Crossed, Limits, Rule

LimitName = Literal["sent_bytes", "received_bytes", "requests", "connections", "connection_time"]
_HINT: Final = "go on without the network, or ask for less"
_WORDS: Final[dict[LimitName, str]] = {
    "sent_bytes": "bytes sent",
    "received_bytes": "bytes received",
    "requests": "requests",
    "connections": "connections at once",
    "connection_time": "ms of a connection",
}
_UNITS: Final[dict[LimitName, str]] = {
    "sent_bytes": "bytes",
    "received_bytes": "bytes",
    "requests": "requests",
    "connections": "connections",
    "connection_time": "ms",
}


@dataclass(slots=True)
class Account:
    """What has crossed under one set of limits."""

    owner: str
    """Whose limits they are, for messages: `the session` or a rule."""
    limits: Limits
    sent_bytes: int = 0
    received_bytes: int = 0
    requests: int = 0
    connections: int = 0
    """Open now."""
    is_rules: bool = False
    """Whether they are one rule's, and not the session's."""
    told: set[str] = field(default_factory=set)
    """Bounds that were reached, of which there is an event already."""
    broke_off: bool = False
    """Whether a tunnel broke off for lack of bytes to send, which nobody could be told inside it."""

    def add(self, crossed: Iterable[Crossed]) -> None:
        """Count what crossed before."""
        for each in crossed:
            self.sent_bytes += each.sent_bytes
            self.received_bytes += each.received_bytes
            self.requests += each.requests

    def check_opening(self, count: int, *, unseen: bool = False) -> None:
        """Refuse a request or connection that would be one too many, or that could send or receive nothing.

        Args:
            count: 0 for a tunnel whose requests are counted one by one, each with its connection.
            unseen: Whether its requests are not seen, so that it could only be broken off later.

        Raises:
            EgressDeniedError: When there is no room.
        """
        if self.requests >= self.limits.requests:
            raise self._spent("requests", self.limits.requests, self.requests + 1)
        if count and self.connections >= self.limits.connections:
            raise self._spent("connections", self.limits.connections, self.connections + count)
        if self.sent_bytes >= self.limits.sent_bytes or (unseen and self.broke_off):
            raise self._spent("sent_bytes", self.limits.sent_bytes, self.sent_bytes)
        if self.received_bytes >= self.limits.received_bytes:
            raise self._spent("received_bytes", self.limits.received_bytes, self.received_bytes)

    def check_sending(self, count: int) -> None:
        """Refuse to send what would be too much.

        Raises:
            EgressDeniedError: When fewer than `count` bytes may still be sent.
        """
        if self.sent_bytes + count > self.limits.sent_bytes:
            raise self._spent("sent_bytes", self.limits.sent_bytes, self.sent_bytes + count)

    def check_received(self) -> None:
        """Refuse to hand on what came in.

        Raises:
            EgressDeniedError: When it is too much.
        """
        if self.received_bytes > self.limits.received_bytes:
            raise self._spent("received_bytes", self.limits.received_bytes, self.received_bytes)

    def out_of_time(self, seconds: float) -> BudgetSpentError:
        """Return what is to be said of a connection that lasted as long as it may."""
        bound = int(self.limits.connection_seconds * 1000)
        return self._spent("connection_time", bound, int(seconds * 1000))

    def _spent(self, limit: LimitName, bound: int, observed: int) -> BudgetSpentError:
        return BudgetSpentError(
            f"the budget of {self.owner} is spent: {bound} {_WORDS[limit]}",
            hint=_HINT,
            account=self,
            spent=Spent(
                limit=f"egress.rule.{limit}" if self.is_rules else f"egress.{limit}",
                bound=bound,
                observed=observed,
                unit=_UNITS[limit],
            ),
        )


class BudgetSpentError(EgressDeniedError):
    """Raised when a bound is reached.

    Args:
        message: One line.
        hint: What can be done.
        account: Whose bound it is.
        spent: Which bound, and by how much.
    """

    def __init__(self, message: str, *, hint: str, account: Account, spent: Spent) -> None:
        super().__init__("budget", message, hint=hint)
        self._account = account
        self._spent = spent

    def news(self, *, action: str) -> Spent | None:
        """Return what is to be written down of it; None when this bound was told before.

        Args:
            action: The action that reached it; empty where that is not known.
        """
        if self._spent.limit in self._account.told:
            return None
        self._account.told.add(self._spent.limit)
        return replace(self._spent, action=action)


class Budget:
    """Every account of a session.

    Args:
        limits: The session's bounds.
        crossed: What counts already, because the session goes on. What crossed under none of the rules in
            force counts under each of them.
        rules: The rules in force.
    """

    def __init__(
        self, limits: Limits, crossed: Iterable[Crossed] = (), *, rules: Iterable[Rule] = ()
    ) -> None:
        self.session = Account("the session", limits)
        self._rules: dict[Rule, Account] = {}
        self._crossed = list(crossed)
        self._names = frozenset(rule.name for rule in rules)
        self.session.add(self._crossed)

    def share(self, rule: Rule | None) -> Share:
        """Return what a connection under a rule is counted against; None is the session's account alone."""
        if rule is None or rule.limits is None:
            return Share((self.session,))
        own = self._rules.get(rule)
        if own is None:
            own = self._rules[rule] = Account(f"rule `{rule.place}`", rule.limits, is_rules=True)
            own.add(each for each in self._crossed if self._counts_under(rule, each))
        return Share((own, self.session))

    def count_elsewhere(self, crossed: Crossed) -> None:
        """Count what crossed another gate with which this one has its budgets in common."""
        self._crossed.append(crossed)
        self.session.add((crossed,))
        for rule, own in self._rules.items():
            if self._counts_under(rule, crossed):
                own.add((crossed,))

    def _counts_under(self, rule: Rule, crossed: Crossed) -> bool:
        return crossed.rule == rule.name or crossed.rule not in self._names


class Share:
    """One connection's part of several accounts: all of them have room, or nothing is counted.

    Args:
        accounts: The rule's, if it has one, and the session's.
    """

    def __init__(self, accounts: tuple[Account, ...]) -> None:
        self._accounts = accounts
        self._open = 0
        self._unseen = False
        self.sent_bytes = 0
        self.received_bytes = 0

    @property
    def connection_seconds(self) -> float:
        """The longest life of the connection."""
        return min(account.limits.connection_seconds for account in self._accounts)

    def out_of_time(self, seconds: float) -> BudgetSpentError:
        """Return what is to be said when the connection lasted as long as it may."""
        strictest = min(self._accounts, key=lambda account: account.limits.connection_seconds)
        return strictest.out_of_time(seconds)

    def open(self, count: int = 1, *, unseen: bool = False) -> None:
        """Count a request and its connection in each account.

        Args:
            count: 0 for a tunnel whose requests are counted one by one, each with its connection.
            unseen: Whether it is a tunnel whose requests are not seen.

        Raises:
            EgressDeniedError: When one of them has no room.
        """
        for account in self._accounts:
            account.check_opening(count, unseen=unseen)
        self._unseen = unseen
        for account in self._accounts:
            account.requests += count
            account.connections += count
        self._open = count

    def close(self) -> None:
        """Count the connection's end in each account, once."""
        for account in self._accounts:
            account.connections -= self._open
        self._open = 0

    def idle(self) -> None:
        """Count a tunnel through which no request came as one, so that empty ones are bounded too."""
        for account in self._accounts:
            account.requests += 1

    def send(self, count: int) -> None:
        """Count bytes before they are sent.

        Raises:
            EgressDeniedError: When an account has no room; then they must not be sent.
        """
        for account in self._accounts:
            try:
                account.check_sending(count)
            except BudgetSpentError:
                account.broke_off = account.broke_off or self._unseen
                raise
        for account in self._accounts:
            account.sent_bytes += count
        self.sent_bytes += count

    def receive(self, count: int) -> None:
        """Count bytes that came in.

        Raises:
            EgressDeniedError: When they are too many for an account.
        """
        self.received_bytes += count
        for account in self._accounts:
            account.received_bytes += count
        for account in self._accounts:
            account.check_received()
