"""The ledger of a turn takes three durable writes, and the benchmark's floor makes as many, as long."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_runner.bench.turns import POLICY
from agent_runner.bench.writes import DurableWrite, LedgerWrites, floor_files, make_durable
from tests.agent_runner.stand import FINISH, SESSION, lines, saying

if TYPE_CHECKING:
    from tests.agent_runner.stand import Stand

TURNS = 20


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the session's files that were made durable, in order."""
    names: list[str] = []
    fdatasync = os.fdatasync

    def counted(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.parent.name == SESSION:
            names.append(path.name)
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    return names


@pytest.mark.parametrize(
    ("text", "a_turn"),
    [
        ("", ["openings.jsonl", "events.jsonl", "events.jsonl"]),
        ("a thought", ["openings.jsonl", "events.jsonl", "openings.jsonl", "events.jsonl"]),
    ],
)
async def test_a_turn_with_one_action_makes_the_question_durable_and_the_intent(
    stand: Stand, synced: list[str], text: str, a_turn: list[str]
) -> None:
    """The last outcome with the question, the reply with the intent; before each, what they commit to."""
    (stand.folder / "f").write_text("x")
    turns = [lines("files stat f", text=text)] * TURNS

    await stand.run(saying(*turns, FINISH), POLICY, may_repeat=True)

    made = len(synced)
    assert TURNS * len(a_turn) <= made <= (TURNS + 5) * len(a_turn)
    assert a_turn * 3 == _middle(synced, len(a_turn) * 3, starting=a_turn)


def _middle(synced: list[str], number: int, *, starting: list[str]) -> list[str]:
    """Return some of the names from the middle on, from where a turn begins."""
    first = next(
        place
        for place in range(len(synced) // 2, len(synced))
        if synced[place : place + len(starting)] == starting
    )
    return synced[first : first + number]


async def test_the_floor_makes_what_most_turns_made_durable_again(stand: Stand, tmp_path: Path) -> None:
    """The same number, in as many files, as long; the twin: another state folder's ledger is not counted."""
    ledger, other = LedgerWrites(stand.state), LedgerWrites(tmp_path)
    (stand.folder / "f").write_text("x")
    model = saying(*[lines("files stat f")] * TURNS, FINISH)
    ask = model.ask

    async def counted(*arguments: object) -> object:
        ledger.end_turn()
        other.end_turn()
        return await ask(*arguments)  # type: ignore[arg-type]  # what the loop gives

    model.ask = counted  # type: ignore[method-assign, assignment]  # likewise
    with ledger.noted(), other.noted():
        await stand.run(model, POLICY, may_repeat=True)
    turn = ledger.of_a_turn()
    with floor_files(tmp_path, turn) as floor:
        make_durable(floor)

    of_session, made = found(stand.state / "sessions" / SESSION), found(tmp_path)
    events, openings = (of_session[name].st_ino for name in ("events.jsonl", "openings.jsonl"))
    assert [write.inode for write in turn] == [events, openings, events]
    assert made["floor.0"].st_size == turn[0].bytes_more + turn[2].bytes_more
    assert made["floor.1"].st_size == turn[1].bytes_more
    assert all(write.bytes_more > 100 for write in turn)
    assert other.of_a_turn() == ()


def found(folder: Path) -> dict[str, os.stat_result]:
    """Return what is to be known of each file."""
    return {path.name: path.stat() for path in folder.iterdir()}


def test_a_seal_between_does_not_change_what_a_turn_is(tmp_path: Path) -> None:
    """What most turns do counts; with one of the seal's own kind among them."""
    (tmp_path / "sessions" / "a").mkdir(parents=True)
    path = tmp_path / "sessions" / "a" / "events.jsonl"
    ledger = LedgerWrites(tmp_path)
    with path.open("ab", buffering=0) as file, ledger.noted():
        for writes in ((3,), (3,), (5, 7), (4,)):
            for size in writes:
                file.write(bytes(size))
                os.fdatasync(file.fileno())
            ledger.end_turn()

    assert ledger.of_a_turn() == (DurableWrite(path.stat().st_ino, 4),)


def test_a_disk_that_is_slow_is_no_time_of_the_runners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's own writes are told by what they took; the twin: those of others, or closed, are not."""
    (tmp_path / "sessions" / "a").mkdir(parents=True)
    ledger, slow = LedgerWrites(tmp_path), 0.02
    monkeypatch.setattr(os, "fdatasync", lambda _: time.sleep(slow))
    took: list[float] = []
    for path in (tmp_path / "sessions" / "a" / "events.jsonl", tmp_path / "floor.0"):
        with path.open("ab", buffering=0) as file, ledger.timed():
            for _ in range(3):
                make_durable([(file.fileno(), b"x")])
            took.append(ledger.taken_ms())
            make_durable([(file.fileno(), b"x")])

    assert took[0] >= 3 * slow * 1000
    assert took[1] == ledger.taken_ms() == 0
