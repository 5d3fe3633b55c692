"""What `audit list`, `show`, `tail` and `schema` print: whole, and with nothing that acts on a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from audit.event import MessageAdded, SessionOpened
from audit.journal import Journal, Registration
from tests.agent_runner.audit.recording import HOSTILE, OTHER, SHOWN
from tests.audit import attacker
from tests.audit.samples import SESSION, Samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.audit.recording import Run


def test_sessions_are_listed(recorded: Path, run: Run) -> None:
    code, out, _ = run("list")
    _, rows, _ = run("list", "--json")

    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [SESSION, OTHER]
    assert [json.loads(row)["status"] for row in rows.splitlines()] == ["done", "done"]


def test_a_session_is_shown_one_line_an_entry_and_a_reason_below(recorded: Path, run: Run) -> None:
    code, out, _ = run("show", OTHER[:6])

    assert code == 0
    lines = out.splitlines()
    denied = next(place for place, line in enumerate(lines) if "denied" in line)
    assert lines[denied].endswith("denied  files write a.txt --content x")
    assert lines[denied + 1].strip() == "command: it is not allowed"


async def test_nothing_that_is_shown_acts_on_a_terminal(state: Path, run: Run) -> None:
    """In each field, and in the entry's own type and times, as a forged log could have them."""
    samples = Samples()
    async with Journal.create(state, SESSION, registration=Registration(grant="files")) as journal:
        opened = samples.opened(journal.commit(HOSTILE)).model_dump()
        hostile = {"policy_origin": HOSTILE, "workspace": HOSTILE, "model": HOSTILE, "backend": HOSTILE}
        await journal.record(SessionOpened(**{**opened, "task": journal.commit(HOSTILE), **hostile}))
        await journal.record(samples.intended(1, text=HOSTILE))
        await journal.record(MessageAdded(role="user", content=journal.commit(HOSTILE), call=HOSTILE))
    attacker.change_session(state, _forged_type, recomputed=True)

    for arguments in (("show",), ("tail",), ("query", "seq!=0"), ("list",)):
        _, out, err = run(*arguments)
        assert not {char for char in out + err if char != "\n" and not char.isprintable()}
    assert SHOWN in run("show")[1]


def _forged_type(lines: list[bytes]) -> list[bytes]:
    return [line.replace(b'"type":"message.added"', b'"type":"x\\u001b[2J"') for line in lines]


def test_the_schema_is_json(run: Run) -> None:
    code, out, _ = run("schema")

    assert code == 0
    assert json.loads(out)["oneOf"]
