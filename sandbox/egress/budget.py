"""Count what crosses against its bounds: the session's, and those of each rule. Pure state, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.egress.errors import EgressDeniedError

if TYPE_CHECKING:
    from sandbox.egress.rules import Limits, Rule

_HINT: Final = "go on without the network, or ask for less"


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

    def check_opening(self, count: int) -> None:
        """Refuse a request or connection that would be one too many.

        Args:
            count: 0 for a tunnel whose requests are counted one by one, each with its connection.

        Raises:
            EgressDeniedError: When there is no room.
        """
        if self.requests >= self.limits.requests:
            raise self._spent("requests", self.limits.requests)
        if count and self.connections >= self.limits.connections:
            raise self._spent("connections at once", self.limits.connections)

    def check_sending(self, count: int) -> None:
        """Refuse to send what would be too much.

        Raises:
            EgressDeniedError: When fewer than `count` bytes may still be sent.
        """
        if self.sent_bytes + count > self.limits.sent_bytes:
            raise self._spent("bytes sent", self.limits.sent_bytes)

    def check_received(self) -> None:
        """Refuse to hand on what came in.

        Raises:
            EgressDeniedError: When it is too much.
        """
        if self.received_bytes > self.limits.received_bytes:
            raise self._spent("bytes received", self.limits.received_bytes)

    def _spent(self, what: str, bound: int) -> EgressDeniedError:
        return EgressDeniedError("budget", f"the budget of {self.owner} is spent: {bound} {what}", hint=_HINT)


class Budget:
    """Every account of a session.

    Args:
        limits: The session's bounds.
    """

    def __init__(self, limits: Limits) -> None:
        self.session = Account("the session", limits)
        self._rules: dict[Rule, Account] = {}

    def share(self, rule: Rule | None) -> Share:
        """Return what a connection under a rule is counted against; None is the session's account alone."""
        if rule is None or rule.limits is None:
            return Share((self.session,))
        own = self._rules.setdefault(rule, Account(f"rule `{rule.name}`", rule.limits))
        return Share((own, self.session))


class Share:
    """One connection's part of several accounts: all of them have room, or nothing is counted.

    Args:
        accounts: The rule's, if it has one, and the session's.
    """

    def __init__(self, accounts: tuple[Account, ...]) -> None:
        self._accounts = accounts
        self._open = 0
        self.sent_bytes = 0
        self.received_bytes = 0

    @property
    def connection_seconds(self) -> float:
        """The longest life of the connection."""
        return min(account.limits.connection_seconds for account in self._accounts)

    def open(self, count: int = 1) -> None:
        """Count a request and its connection in each account.

        Args:
            count: 0 for a tunnel whose requests are counted one by one, each with its connection.

        Raises:
            EgressDeniedError: When one of them has no room.
        """
        for account in self._accounts:
            account.check_opening(count)
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
            account.check_sending(count)
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
