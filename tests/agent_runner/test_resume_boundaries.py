"""Killed at any boundary of its ledger, a session that goes on ends as one that was never killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_runner.errors import InvalidInputError
from agent_runner.fold import read_past
from audit.verify import verify_session
from tests.agent_runner.careful import careful, prepare
from tests.agent_runner.stand import SESSION, Stand
from tests.sandbox.guest.launch import reachable_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.agent_runner.stand import Model

CHECKOUT = Path(__file__).resolve().parents[2]
ENTRIES = 38
QUICK = {(1, "after"), (4, "before"), (5, "after"), (7, "after"), (8, "before"), (9, "after"), (11, "after"),
         (16, "after"), (20, "after"), (22, "before"), (27, "after"), (37, "before"),
         (38, "after")}  # fmt: skip
POINTS = [
    pytest.param(n, when, id=f"{when} {n}", marks=() if (n, when) in QUICK else pytest.mark.long)
    for n in range(1, ENTRIES + 1)
    for when in ("before", "after")
    if (n, when) != (1, "before")
]


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def decisions(stand: Stand) -> list[tuple[list[str], str]]:
    """Return what was decided, but for what was done again, its outcome being unknown, or asked again."""
    outcomes = {entry["action"]: entry["outcome"] for entry in stand.entries("action.finished")}
    answered = {entry["action"] for entry in stand.entries("approval.answered")}
    return [
        (entry["argv"], entry["verdict"])
        for entry in stand.entries("action.intended")
        if outcomes.get(entry["action"]) != "unknown"
        and (entry["verdict"] != "needs_approval" or entry["action"] in answered)
    ]


@pytest.fixture(scope="module")
def never_killed() -> Iterator[tuple[dict[str, bytes], list[tuple[list[str], str]], int]]:
    """Return the tree, the decisions and the entries of a session that nobody killed."""
    import asyncio

    with reachable_folder() as folder:
        prepare(folder / "workspace")
        stand = Stand(folder)
        result = asyncio.run(stand.run(careful()))
        assert result.status == "done"
        yield tree(stand.folder), decisions(stand), recorded(stand)


def recorded(stand: Stand) -> int:
    """Return how many entries the runner recorded, those of the journal's own left out."""
    path = stand.state / "sessions" / SESSION / "events.jsonl"
    return sum('"type":"log.' not in line for line in path.read_text().splitlines())


def die(stand: Stand, number: int, when: str) -> None:
    """Run the session in a process that dies at an entry."""
    command = [sys.executable, "-m", "tests.agent_runner.careful", str(stand.place), str(number), when]
    done = subprocess.run(
        command, cwd=CHECKOUT, env=os.environ, check=False, capture_output=True, timeout=300
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


async def ended(stand: Stand, model: Model) -> None:
    """Go on with the session, unless its end is in the ledger already."""
    if stand.entries("session.closed"):
        with pytest.raises(InvalidInputError, match="is over: it ended as `done`"):
            await stand.resume(model)
        return
    result = await stand.resume(model)
    assert (result.status, result.reason) == ("done", "ready")


def test_every_boundary_is_tried(
    never_killed: tuple[dict[str, bytes], list[tuple[list[str], str]], int],
) -> None:
    assert never_killed[2] == ENTRIES


@pytest.mark.parametrize(("number", "when"), POINTS)
async def test_a_session_killed_at_an_entry_goes_on_to_the_same_end(
    stand: Stand,
    never_killed: tuple[dict[str, bytes], list[tuple[list[str], str]], int],
    number: int,
    when: str,
) -> None:
    """The same tree, the same decisions; no action has two outcomes; what the model hears is the ledger."""
    prepare(stand.folder)
    die(stand, number, when)
    model = careful()

    await ended(stand, model)

    finished = [entry["action"] for entry in stand.entries("action.finished")]
    past = read_past(stand.state, SESSION)
    assert tree(stand.folder) == never_killed[0]
    assert decisions(stand) == never_killed[1]
    assert len(finished) == len(set(finished))
    assert verify_session(stand.state, SESSION).faults() == {}
    if model.heard:
        assert past.messages[: len(model.heard[-1])] == model.heard[-1]
    assert past.used.turns == sum(reply["turn"] > 0 for reply in stand.entries("model.answered"))
