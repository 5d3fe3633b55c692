"""What is told of a connection through the egress gate."""

from typing import Literal

from audit.fields import Count, Event, Reason, Text


class EgressOpened(Event):
    """A connection was asked for."""

    kind = "egress.opened"
    connection: str
    """`<session>/c<n>`."""
    host: Text
    port: Count
    scheme: str
    """`https`, `http`, `tls`, `socks` ..."""
    verdict: Literal["allowed", "denied"]
    reasons: tuple[Reason, ...] = ()
    address: Text = ""
    """The pinned address; empty when nothing was resolved."""
    action: str = ""
    """The action it belongs to; empty where that is not known."""


class EgressRequested(Event):
    """A request on a connection whose requests are seen."""

    kind = "egress.requested"
    connection: str
    method: Text
    path: Text
    """Without its query, which is never recorded."""
    verdict: Literal["allowed", "denied"]
    reasons: tuple[Reason, ...] = ()
    status: Count = 0
    """The answer's status; 0 when there was none."""


class EgressClosed(Event):
    """A connection has ended."""

    kind = "egress.closed"
    connection: str
    sent_bytes: Count
    received_bytes: Count
    requests: Count
    duration_ms: Count
    why: Text
