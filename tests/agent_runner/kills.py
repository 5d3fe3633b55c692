"""Sessions that are killed at an entry of their ledger, each in a process that is forked for it.

A scenario is what a session does; the same model runs it whole, up to where it dies, and from there on.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from audit.journal import Journal
from cli_tools.action import LineProposal
from tests.agent_runner.careful import STEPS, Steps, careful, kill_at
from tests.agent_runner.people import DecidedPerson
from tests.agent_runner.stand import POLICY, Stand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit.fields import Event

LONG_SECONDS: Final = 300.0
_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.agent_runner.kills"])


def _lines(*lines: str) -> tuple[LineProposal, ...]:
    return tuple(LineProposal(line=line) for line in lines)


def _write(name: str) -> LineProposal:
    return LineProposal(line=f"files write {name}", body=name.encode())


END: Final = _lines("finish --status done ready")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What a session does."""

    entries: int
    """How many entries it records when nobody kills it, in all its ledgers; the journal's own left out."""
    steps: Steps = STEPS
    below: Steps = ()
    policy: str = POLICY
    more: dict[str, Any] = field(default_factory=dict)
    """What it is started with besides."""

    def prepare(self, folder: Path) -> None:
        """Put into the workspace what the steps count on."""
        folder.mkdir(exist_ok=True)
        (folder / "old").write_text("old")
        (folder / "long").write_text("a line of a file\n" * 300)

    async def run(self, stand: Stand) -> Any:
        """Run it from its beginning."""
        model = careful(self.steps, self.below)
        asked = {"headless": False, "approver": DecidedPerson("approved"), "may_delegate": True}
        return await stand.run(model, self.policy, **asked | self.more)

    async def resume(self, stand: Stand) -> Any:
        """Go on with it."""
        model = careful(self.steps, self.below)
        return await stand.resume(model, headless=False, approver=DecidedPerson("approved"))


SCENARIOS: Final = {
    "asks": Scenario(
        entries=23,
        policy=POLICY.replace("]}", '], ask: ["files remove", "files move"]}'),
        steps=((_write("a"),), _lines("files remove old", "files move a b"), END),
    ),
    "delegates": Scenario(
        entries=39,
        policy=POLICY.replace("]}", ", delegate]}"),
        steps=(_lines("files list"), _lines("delegate look", "files read f"), END),
        below=((_write("f"),), (_write("g"), *_lines("files remove old")), END),
    ),
    "asks below": Scenario(
        entries=45,
        policy=POLICY.replace("]}", ', delegate], ask: ["files remove"]}'),
        steps=(_lines("files list"), _lines("delegate look", "files read f"), END),
        below=((_write("f"), _write("g")), _lines("files remove old", "files remove g"), END),
    ),
    "shortens": Scenario(
        entries=56,
        steps=(
            *(_lines(f"files read long --lines {n}-300") for n in range(1, 11)),
            _lines("files remove old"),
            END,
        ),
        more={"long_characters": 24_000},
    ),
    "acts": Scenario(entries=38),
}


def die_here(name: str, place: str, number: int, when: str, how: str) -> None:
    kill_at(number, written=when == "after")
    stand, scenario = Stand(Path(place)), SCENARIOS[name]
    asyncio.run(scenario.run(stand) if how == "run" else scenario.resume(stand))


def die(name: str, stand: Stand, number: int, when: str, *, how: str = "run") -> bool:
    """Run a scenario, or go on with it, in a process that dies at an entry; return whether it came to it.

    Args:
        name: The scenario.
        stand: Where.
        number: Which entry that the process records, in whichever ledger; 1 is the first.
        when: `before` it is written, or `after` it is durable.
        how: `run` or `resume`.
    """
    process = _FORKS.Process(target=die_here, args=(name, str(stand.place), number, when, how))
    process.start()
    process.join(LONG_SECONDS)
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode != 0


def counted() -> Iterator[list[int]]:
    """Count what this process records, as `kill_at` does, while the generator stands."""
    original, ahead, count = Journal._sent, Journal.record_ahead, [0]

    async def sent(self: Journal, *arguments: Any) -> Any:
        count[0] += 1
        return await original(self, *arguments)

    def recorded_ahead(self: Journal, happened: Event) -> None:
        count[0] += 1
        ahead(self, happened)

    Journal._sent = sent  # type: ignore[method-assign, assignment]  # given back below
    Journal.record_ahead = recorded_ahead  # type: ignore[method-assign]  # likewise
    try:
        yield count
    finally:
        Journal._sent = original  # type: ignore[method-assign]
        Journal.record_ahead = ahead  # type: ignore[method-assign]
