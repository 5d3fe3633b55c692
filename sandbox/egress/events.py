"""Say what happened at the gate, as values that its owner writes down; no query and no secret is in them."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A connection or request was decided. An allowed one leaves only after this was written down."""

    connection: str
    """`c<n>`, counted from 1 through all of a session. A later denial of the same connection ends it."""
    scheme: str
    """`http`, `https`, or `tunnel` for bytes whose requests are not seen."""
    host: str
    """Canonical; empty when what was asked for names no host."""
    port: int
    """0 when what was asked for names no port."""
    method: str
    """Empty for a tunnel."""
    path: str
    """Without query; empty for a tunnel."""
    verdict: Literal["allowed", "denied"]
    code: str = ""
    """Why it was denied, for programs; empty when it was allowed."""
    message: str = ""
    """Why it was denied, for a person."""
    hint: str = ""
    rule: str = ""
    """The rule that allowed it or came nearest, as `origin:line:column` or its host; empty for none."""
    action: str = ""
    """The action that it belongs to; empty where that is not known."""
    within: str = ""
    """The tunnel whose TLS ended at the gate and that the request came through; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A connection or request that had been allowed is over."""

    connection: str
    host: str
    port: int
    address: str
    """What was dialled; empty when nothing was."""
    sent_bytes: int
    """Towards the server, inside TLS where it ended at the gate."""
    received_bytes: int
    status: int
    """The answer's status; 0 when none was seen."""
    duration_ms: int
    why: str
    """`done`, the code of what ended it, `gone` when the container went away, `cancelled` or `lost`."""
    action: str = ""
    rule: str = ""
    """The name under which it counts: the rule's host and a digest of what the rule allows."""
    method: str = ""
    """Empty for a tunnel."""
    path: str = ""
    """Without query; empty for a tunnel."""
    requests: int = 1
    """Requests that were seen; of bytes whose requests are not seen, 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """A bound of the session's or of a rule's was reached for the first time."""

    limit: str
    """`egress.sent_bytes`, `egress.requests` …; `egress.rule.sent_bytes` … where it is a rule's own."""
    bound: int
    observed: int
    """What it would have come to, or came to."""
    unit: str
    """`bytes`, `requests`, `connections` or `ms`."""
    action: str = ""
    """The action that reached it; empty where that is not known."""


Event = Decided | Closed | Spent
