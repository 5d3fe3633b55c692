"""Fold the egress gate's entries into what went to each host, and what was refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent_runner.report.connections import destination
from agent_runner.report.recent import Recent
from audit import event

if TYPE_CHECKING:
    from audit.fields import Event

MOST_HOSTS: Final = 1000
OTHERS: Final = "(further hosts)"


@dataclass(slots=True)
class HostTraffic:
    """What went to one host and port.

    Attributes:
        to: Host and port.
        allowed: Connections or requests that were let out.
        denied: Connections or requests that were refused.
        sent_bytes: Bytes sent.
        received_bytes: Bytes received.
        addresses: What was dialled; at most 4.
        codes: Why something was refused, for programs.
    """

    to: str
    allowed: int = 0
    denied: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    addresses: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)


class Traffic:
    """What crossed the egress gate in one session.

    Attributes:
        hosts: Host and port -> what went there, in the order in which they were first named.
    """

    def __init__(self) -> None:
        self.hosts: dict[str, HostTraffic] = {}
        self._open: Recent[HostTraffic] = Recent()

    def take(self, happened: Event) -> None:
        """Take in an entry."""
        match happened:
            case event.EgressOpened():
                host = self._host(destination(happened))
                self._open.put(happened.connection, host)
                self._decided(host, happened)
                if happened.address and happened.address not in host.addresses[:4]:
                    host.addresses = [*host.addresses, happened.address][:4]
            case event.EgressRequested(connection=connection):
                host = self._open.get(connection) or self._host(OTHERS)
                if happened.request:
                    self._open.put(happened.request, host)
                if happened.verdict == "denied":
                    self._decided(host, happened)
            case event.EgressClosed(connection=connection):
                host = self._open.get(connection) or self._host(OTHERS)
                if happened.address and happened.address not in host.addresses[:4]:
                    host.addresses = [*host.addresses, happened.address][:4]
                host.sent_bytes += happened.sent_bytes
                host.received_bytes += happened.received_bytes
            case _:
                pass

    def _decided(self, host: HostTraffic, happened: event.EgressOpened | event.EgressRequested) -> None:
        if happened.verdict == "allowed":
            host.allowed += 1
            return
        host.denied += 1
        for reason in happened.reasons:
            if reason.code not in host.codes and len(host.codes) < 4:
                host.codes.append(reason.code)

    def _host(self, to: str) -> HostTraffic:
        name = to if to in self.hosts or len(self.hosts) < MOST_HOSTS else OTHERS
        return self.hosts.setdefault(name, HostTraffic(name))
