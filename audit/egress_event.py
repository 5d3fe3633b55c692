"""What is told of a connection through the egress gate."""

from typing import Literal

from audit.fields import Count, Event, Reason, Text


class EgressOpened(Event):
    """A connection was asked for."""

    kind = "egress.opened"
    connection: str
    """`<session>/c<n>`, or `<session>/<connector>/c<n>`; no two of a session have the same."""
    host: Text
    port: Count
    scheme: str
    """`https`, `http`, `tls`, `socks` ..."""
    verdict: Literal["allowed", "denied"]
    reasons: tuple[Reason, ...] = ()
    address: Text = ""
    """Empty: nothing has been dialled yet. The address stands in the connection's `egress.closed`."""
    action: str = ""
    """The action it belongs to; empty where that is not known."""
    rule: Text = ""
    """The rule that allowed it or came nearest, as `origin:line:column` or its host; empty for none."""
    method: Text = ""
    """Empty where requests are not seen."""
    path: Text = ""
    """Without its query, which is never recorded; empty where requests are not seen."""


class EgressRequested(Event):
    """A request inside a tunnel whose TLS ends at the gate."""

    kind = "egress.requested"
    connection: str
    """The tunnel's."""
    method: Text
    path: Text
    """Without its query, which is never recorded."""
    verdict: Literal["allowed", "denied"]
    reasons: tuple[Reason, ...] = ()
    status: Count = 0
    """The answer's status; 0 when there was none, or not yet."""
    request: str = ""
    """Its own name, `<session>/c<n>`, with which an `egress.closed` tells of its end; empty for none."""
    host: Text = ""
    port: Count = 0
    rule: Text = ""
    """As for a connection."""
    action: str = ""
    """As for a connection."""


class EgressClosed(Event):
    """A connection has ended."""

    kind = "egress.closed"
    connection: str
    sent_bytes: Count
    received_bytes: Count
    requests: Count
    duration_ms: Count
    why: Text
    host: Text = ""
    port: Count = 0
    address: Text = ""
    """What was dialled; empty when nothing was."""
    status: Count = 0
    """The answer's status; 0 when none was seen."""
    rule: Text = ""
    """The rule that allowed it, by what it counts under: its host and a digest of what it allows."""
    method: Text = ""
    path: Text = ""
    """Without its query."""
    action: str = ""
    """The action it belongs to; empty where that is not known."""
