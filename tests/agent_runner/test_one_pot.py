"""What crosses the egress gate and how often a command is called: one pot, across resumes and children."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.fold import read_past
from audit.event import EgressClosed
from audit.journal import Journal
from sandbox.egress.rules import Crossed
from tests.agent_runner.stand import SESSION, lines, saying

if TYPE_CHECKING:
    from tests.agent_runner.stand import Stand


async def cross(stand: Stand, session: str, *, sent_bytes: int, rule: str = "", part: str = "") -> None:
    """Write into a session's ledger that something crossed its gate."""
    owner = f"{session}/{part}" if part else session
    async with Journal.reopen(stand.state, session) as journal:
        await journal.record(
            EgressClosed(
                connection=f"{owner}/c1",
                sent_bytes=sent_bytes,
                received_bytes=7,
                requests=1,
                duration_ms=3,
                why="done",
                host="a.example",
                port=443,
                address="1.1.1.1",
                rule=rule,
            )
        )


async def test_what_crossed_counts_once_after_a_resume(stand: Stand) -> None:
    await stand.run(saying(lines("files list")))

    await cross(stand, SESSION, sent_bytes=5, rule="a.example")

    crossed = Crossed(sent_bytes=5, received_bytes=7, requests=1)
    assert read_past(stand.state, SESSION).traffic.of(SESSION) == crossed
