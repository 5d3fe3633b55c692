"""A process in the place of the egress process whose questions are as long as a message may be."""

from __future__ import annotations

from sandbox.egress.events import Decided
from sandbox.egress.wire import ApprovalWanted
from tests.sandbox.egress.flooding import asking

LONG = "x" * 1_000_000


def main(arguments: list[str]) -> int:
    """Run it."""
    event = Decided(
        connection="c1", scheme="https", host="a.test", port=443, method="GET", path=LONG, verdict="denied"
    )
    return asking(arguments, ApprovalWanted(id=1, event=event, query=""))
