"""A session that writes in its workspace at once labels it before each first use of what it holds."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from agent_runner.errors import RefusedError
from agent_runner.exercised import exercised
from agent_runner.label_proof import prove_labels
from agent_runner.lineage import endorse, labels_of, require_lineage, wrote_unreviewed
from agent_runner.lineage_places import unreviewed
from agent_runner.lineage_use import DirectUse
from agent_runner.meta import read_meta
from audit.state import StateFiles
from cli_tools.errors import ActionError
from policies.capability import Capability
from policies.grant import Grant
from sandbox.workspace import open_workspace
from tests.agent_runner.stand import FINISH, SESSION, Model, lines, saying

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Message, Reply
    from tests.agent_runner.stand import Stand

DIRECT = "files: {access: direct, hide_defaults: false, protect_defaults: false}\n"
RUNS = (
    'version: 1\nname: x\ngrant: [files, exec]\ncommands: {allow: ["files *", run]}\n'
    "exec: {programs: any}\n" + DIRECT
)
FETCHES = (
    'version: 1\nname: x\ngrant: [files, network]\ncommands: {allow: ["files *", "http *"]}\n'
    "network: {allow: [{host: example.invalid}]}\n" + DIRECT
)
OTHER = "ba9876543210"


def label(stand: Stand) -> dict[str, list[str]]:
    identity = open_workspace(stand.folder, state=stand.state).identity
    found = labels_of(stand.state).read(identity)
    return {part.session: sorted(held.value for held in part.exercised) for part in found.contributions}


def changes(stand: Stand) -> list[list[str]]:
    """Return what the host's log says that the label came to hold, one change after the other."""
    told = [json.loads(line) for line in (stand.state / "ledger.jsonl").read_text().splitlines()]
    return [entry["body"]["after"] for entry in told if entry["type"] == "label.changed"]


async def test_a_session_that_does_nothing_labels_nothing(stand: Stand) -> None:
    await stand.run(Model(lambda *_: FINISH), RUNS)

    assert (label(stand), changes(stand)) == ({}, [])


@pytest.mark.parametrize(
    ("policy", "steps", "expected"),
    [
        (RUNS, ["files write a --content x"], ["files"]),
        (RUNS, ["files list", "run true"], ["exec", "files"]),
        (FETCHES, ["files list", "files write a --content x"], ["files"]),
        (FETCHES, ["http get https://example.invalid/x"], ["files", "network"]),
        (FETCHES, ["http get https://denied.invalid/x", "files list"], ["files"]),
    ],
)
async def test_the_label_holds_what_was_done_and_not_what_was_held(
    stand: Stand, policy: str, steps: list[str], expected: list[str]
) -> None:
    """Denied actions exercise nothing; what is allowed counts, whatever comes of it."""
    await stand.run(saying(*map(lines, steps), FINISH), policy)

    assert label(stand) == {SESSION: expected}
    assert sorted(changes(stand)[-1]) == expected
    assert prove_labels(stand.state).faults == ()


async def test_the_label_is_durable_before_a_program_begins(stand: Stand) -> None:
    """The program itself, which could write at once, finds the label raised and its entry written."""
    watched = stand.state / "workspaces"

    def answer(_: Sequence[Message], turn: int) -> Reply:
        before.append(len(list(watched.glob("*.json"))))
        return lines("run true") if turn == 1 else FINISH

    before: list[int] = []
    await stand.run(Model(answer), RUNS)

    host = [json.loads(line) for line in (stand.state / "ledger.jsonl").read_text().splitlines()]
    raised = next(entry for entry in host if entry["type"] == "label.changed")
    (started,) = stand.entries("process.started")
    (intended, *_) = stand.entries("action.intended")
    assert before == [0, 1]
    assert raised["body"]["after"] == ["files", "exec"]
    assert started["action"] == intended["action"]


async def test_an_action_whose_label_cannot_be_written_is_not_done(stand: Stand) -> None:
    """One clear line for the model; the next try is refused as well, and its twin is done."""
    blocked = stand.state / "workspaces"

    def answer(_: Sequence[Message], turn: int) -> Reply:
        if turn == 1:
            blocked.write_text("a file where the labels should be")
        if turn == 3:
            blocked.unlink()
        return lines(f"files write made{turn} --content x") if turn < 4 else FINISH

    await stand.run(Model(answer), RUNS)

    ends = [(end["outcome"], end["detail"]) for end in stand.entries("action.finished")][:3]
    assert [outcome for outcome, _ in ends] == ["failed", "failed", "ok"]
    assert "\n" not in ends[0][1]
    assert ends[0][1].startswith("label: ")
    assert [path.name for path in stand.folder.glob("made*")] == ["made3"]


async def test_what_came_while_it_ran_is_carried_into_what_it_writes(stand: Stand) -> None:
    """Another's fetch lies there meanwhile, and is called reviewed before this one is: it still counts."""
    workspace = open_workspace(stand.folder, state=stand.state)
    policy = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\nfiles: {access: stage}\n'

    def answer(_: Sequence[Message], turn: int) -> Reply:
        if turn > 1:
            return FINISH
        held = Grant.FILES_NETWORK.capabilities
        wrote_unreviewed(stand.state, workspace.identity, OTHER, held, why="a test")
        shown = unreviewed(labels_of(stand.state), workspace.identity)
        endorse(stand.state, workspace.identity, shown)
        return lines("files list")

    await stand.run(Model(answer), policy)

    folder = StateFiles(stand.state).session(SESSION).folder
    assert label(stand) == {}
    assert exercised(folder, Grant.FILES) == Grant.FILES_NETWORK.capabilities


async def test_what_it_finds_unreviewed_is_carried_into_what_it_writes(stand: Stand) -> None:
    """Else a narrow session would launder a fetched script: copied on, its label reviewed away."""
    workspace = open_workspace(stand.folder, state=stand.state)
    held = Grant.FILES_NETWORK.capabilities
    wrote_unreviewed(stand.state, workspace.identity, OTHER, held, why="a test")

    await stand.run(
        saying(lines("files write copied --content x"), FINISH),
        'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\n' + DIRECT,
    )

    assert label(stand)[SESSION] == ["files", "network"]
    assert read_meta(StateFiles(stand.state).session(SESSION).folder).found == "files+network"
    assert [note["code"] for note in stand.entries("safety.noted")].count("lineage") == 1


async def test_a_label_that_grew_refuses_the_next_first_use(stand: Stand) -> None:
    """A folder that holds fetched files is moved into the workspace while it runs; its twin is harmless."""
    outside = stand.place / "outside"
    outside.mkdir()
    identity = open_workspace(outside, state=stand.state).identity

    def answer(_: Sequence[Message], turn: int) -> Reply:
        if turn == 2:
            held = Grant.FILES_NETWORK.capabilities
            wrote_unreviewed(stand.state, identity, OTHER, held, why="a test")
            outside.rename(stand.folder / "moved")
        return {1: lines("files list"), 2: lines("run true")}.get(turn, FINISH)

    await stand.run(Model(answer), RUNS)

    ends = [(end["outcome"], end["detail"]) for end in stand.entries("action.finished")][:2]
    assert ends[0][0] == "ok"
    assert ends[1][0] == "failed"
    assert OTHER in ends[1][1]


async def test_two_actions_at_once_raise_once(stand: Stand) -> None:
    """Programs may ask for commands beside the model; the second waits for the first one's label."""
    request = stand.request(Model(lambda *_: FINISH), RUNS)
    await stand.run(Model(lambda *_: FINISH), RUNS)
    use = DirectUse(request, SESSION, resumed=False)

    await asyncio.gather(*(use.of(frozenset({Capability.EXEC})) for _ in range(8)))

    assert label(stand) == {SESSION: ["exec", "files"]}
    assert len(changes(stand)) == 1


async def test_an_action_waits_for_what_others_brought_and_for_nothing_else(stand: Stand) -> None:
    """Its label was on already; another's fetch raises it once more, and then there is nothing new."""
    policy = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\n' + DIRECT
    workspace = open_workspace(stand.folder, state=stand.state)
    held: list[dict[str, list[str]]] = []

    def answer(_: Sequence[Message], turn: int) -> Reply:
        held.append(label(stand))
        if turn == 2:
            fetched = Grant.FILES_NETWORK.capabilities
            wrote_unreviewed(stand.state, workspace.identity, OTHER, fetched, why="a test")
        return lines(f"files write made{turn} --content x") if turn < 5 else FINISH

    await stand.run(Model(answer), policy)

    assert [there.get(SESSION) for there in held] == [None, ["files"], *[["files", "network"]] * 3]
    assert len(changes(stand)) == 3


async def test_an_action_is_not_done_where_nobody_can_tell_what_others_brought(stand: Stand) -> None:
    request = stand.request(Model(lambda *_: FINISH), RUNS)
    await stand.run(Model(lambda *_: FINISH), RUNS)
    use = DirectUse(request, SESSION, resumed=False)
    await use.of(frozenset({Capability.FILES}))
    (stand.state / "ledger.jsonl").rename(stand.state / "moved")

    with pytest.raises(ActionError, match="the host's log cannot be looked at: no such file"):
        await use.of(frozenset({Capability.FILES}))


def test_what_a_direct_session_only_held_refuses_nobody(tmp_path: Path) -> None:
    """The twin of the refusals: `files` alone leaves every grant with `files` its start."""
    workspace, state = tmp_path / "w", tmp_path / "s"
    workspace.mkdir()
    state.mkdir(mode=0o700)
    found = open_workspace(workspace, state=state)
    wrote_unreviewed(state, found.identity, OTHER, Grant.FILES.capabilities, why="a test")

    for grant in (Grant.FILES, Grant.FILES_NETWORK, Grant.FILES_EXEC):
        require_lineage(state, found, grant)

    wrote_unreviewed(state, found.identity, OTHER, Grant.NETWORK.capabilities, why="a test")
    with pytest.raises(RefusedError, match=OTHER):
        require_lineage(state, found, Grant.FILES_EXEC)
