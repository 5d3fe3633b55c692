"""A reply and an outcome may wait for the next entry; who acts, asks or looks on never comes before them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.backend import ModelMessage, ObservationMessage
from agent_runner.fold import UNKNOWN
from agent_runner.transcript import Transcript
from cli_tools.action import Catalogue
from cli_tools.catalogue import built_in
from cli_tools.command import Outcome, Surroundings, command
from tests.agent_runner.stand import FINISH, POLICY, SESSION, Model, lines, saying

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Message, Reply
    from cli_tools.observation import Observation
    from tests.agent_runner.stand import Stand

BOTH = (
    'version: 1\nname: x\ngrant: [files, exec]\nexec: {programs: any}\ncommands: {allow: ["files *", run]}\n'
)


class Disk:
    """Know what of a session's ledger a power cut would leave."""

    def __init__(self, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path = state / "sessions" / SESSION / "events.jsonl"
        self._bytes = 0
        fdatasync = os.fdatasync

        def noted(descriptor: int) -> None:
            fdatasync(descriptor)
            if Path(f"/proc/self/fd/{descriptor}").readlink() == self._path:
                self._bytes = os.fstat(descriptor).st_size

        monkeypatch.setattr(os, "fdatasync", noted)

    def count(self, kind: str) -> int:
        """Return how many entries of one type are durable."""
        found = self._path.read_bytes()[: self._bytes].splitlines()
        return sum(json.loads(line)["type"] == kind for line in found)


class Looking:
    """Watch, and note how many replies and answers were durable when each was shown."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.shown: list[tuple[str, int, int]] = []

    def said(self, turn: int, reply: Reply) -> None:  # noqa: ARG002 - a Watcher
        """Note what there was."""
        self.shown.append(("said", turn, self._disk.count("model.answered")))

    def saw(self, observation: Observation) -> None:
        """Note what there was; an answer that is no outcome is a message."""
        number = int(observation.action.rpartition("/")[2])
        durable = self._disk.count("action.finished") + self._disk.count("message.added") - 2
        self.shown.append(("saw", number, durable))


@pytest.mark.parametrize("policy", [POLICY, BOTH], ids=["in the caller's turn", "in the thread"])
async def test_what_a_person_is_shown_is_durable_and_what_the_model_hears_too(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """In order, each once: replies with and without text, done, refused, failed, meaning nothing."""
    disk = Disk(stand.state, monkeypatch)
    heard: list[tuple[int, int]] = []
    replies = (
        lines("files stat f", "http get https://example.com/", text="a thought"),
        lines("files stat f --verbose"),
        lines("files read missing"),
        FINISH,
    )

    def answer(messages: Sequence[Message], turn: int) -> Reply:
        told = sum(isinstance(message, (ModelMessage, ObservationMessage)) for message in messages)
        durable = disk.count("model.answered") + disk.count("action.finished")
        heard.append((told, durable + disk.count("message.added") - 2))
        return replies[turn - 1]

    (stand.folder / "f").write_text("x")
    looking = Looking(disk)

    result = await stand.run(Model(answer), policy, watcher=looking)

    assert result.status == "done"
    assert [shown[:2] for shown in looking.shown] == [
        ("said", 1), ("saw", 1), ("saw", 2), ("said", 2), ("saw", 3), ("said", 3), ("saw", 4),
        ("said", 4), ("saw", 5),
    ]  # fmt: skip
    assert all(durable >= number for _, number, durable in looking.shown)
    # What failed has an outcome, and a message with the reason besides.
    assert heard == [(0, 0), (3, 3), (5, 5), (7, 8)]


async def test_a_reply_is_durable_before_its_first_action_acts_and_before_the_session_ends(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its intent takes it along; a reply without a call has nothing to wait for."""
    disk, found = Disk(stand.state, monkeypatch), []

    @command("files look", examples=("files look",))
    async def look(_: Surroundings) -> Outcome:
        """Look."""
        found.append((disk.count("model.answered"), disk.count("action.intended")))
        return Outcome(exit_code=0)

    settled = Transcript.settled

    async def noted(self: Transcript) -> None:
        await settled(self)
        found.append((disk.count("model.answered"), disk.count("action.intended")))

    monkeypatch.setattr(Transcript, "settled", noted)
    model = saying(lines("files look", "files look"), lines())

    result = await stand.run(model, catalogue=Catalogue((look, *built_in().commands)))

    assert (result.status, result.unfinished) == ("done", True)
    assert found == [(1, 1), (1, 2), (2, 2)]


async def test_an_outcome_that_cannot_be_written_is_shown_to_nobody_and_unknown_afterwards(
    stand: Stand,
) -> None:
    """The action is done; the ledger's file is gone when the next question would take its outcome along."""
    events = stand.state / "sessions" / SESSION / "events.jsonl"
    kept: list[bytes] = []
    model = saying(lines("files look"), FINISH)

    @command("files look", examples=("files look",))
    async def look(_: Surroundings) -> Outcome:
        """Take the ledger away."""
        kept.append(events.read_bytes())
        events.unlink()
        return Outcome(exit_code=0)

    catalogue = Catalogue((look, *built_in().commands))
    result = await stand.run(model, catalogue=catalogue)
    events.write_bytes(kept[0])
    told: dict[str, Any] = {}

    def next_reply(messages: Sequence[Message], _: int) -> Reply:
        told.update({m.call_id: m.text for m in messages if isinstance(m, ObservationMessage)})
        return FINISH

    again = await stand.resume(Model(next_reply))

    assert (result.status, result.exit_code) == ("ledger_failed", 6)
    assert len(model.heard) == 1
    assert [seen.command for seen in stand.eyes.seen] == ["finish"]
    assert again.status == "done"
    assert told == {"c0": UNKNOWN}
