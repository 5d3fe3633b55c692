"""Sessions below a session: within its grant, on its budget, of its influence, and gone when it is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.backend import (
    Call,
    ModelMessage,
    ObservationMessage,
    Reply,
    Usage,
    UserMessage,
)
from agent_runner.backends.scripted import ScriptedBackend
from agent_runner.budget_limits import NOTHING, parse_budget
from agent_runner.descent import kept_line
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.fold import read_past
from agent_runner.lineage import labels_of, wrote_unreviewed
from agent_runner.lineage_beside import require_lineage_beside
from agent_runner.past_below import with_below
from agent_runner.review import read_policy
from agent_runner.state import session_files
from audit.errors import BrokenLedgerError
from audit.index import read_index
from audit.openings import without
from audit.state import StateFiles
from audit.verify import verify_session
from cli_tools.action import LineProposal
from policies.grant import Grant
from sandbox.workspace import open_workspace
from tests.agent_runner.delegating import delegating
from tests.agent_runner.stand import FINISH, SESSION, Model, lines, saying, script

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Message
    from tests.agent_runner.stand import Stand

MAY = 'version: 1\nname: x\ngrant: [{}]\ncommands: {{allow: ["files *", delegate, run]}}\n'
FILES = MAY.format("files")
DIRECT = "files: {access: direct, hide_defaults: false, protect_defaults: false}\nexec: {programs: any}\n"
CHECKOUT = Path(__file__).resolve().parents[2]


def task_of(messages: Sequence[Message]) -> str:
    """Return what a conversation is about: the parent's task is `a test`."""
    return next(message.text for message in messages if isinstance(message, UserMessage))


def told(messages: Sequence[Message]) -> str:
    """Return the last observation."""
    seen = [message.text for message in messages if isinstance(message, ObservationMessage)]
    return seen[-1] if seen else ""


def family(parent: Sequence[Reply], child: Sequence[Reply]) -> Model:
    """Return a model that answers a parent with some replies, and every session below it with others."""

    def answer(messages: Sequence[Message], _: int) -> Reply:
        turn = sum(isinstance(message, ModelMessage) for message in messages)
        return (parent if task_of(messages) == "a test" else child)[turn]

    return Model(answer)


def children(stand: Stand) -> list[str]:
    """Return the sessions below the stand's."""
    return [entry["child"] for entry in stand.entries("session.delegated")]


def entries_of(stand: Stand, session: str, kind: str) -> list[dict[str, Any]]:
    """Return the bodies of another session's entries of one type."""
    path = stand.state / "sessions" / session / "events.jsonl"
    return [
        entry["body"] for entry in map(json.loads, path.read_text().splitlines()) if entry["type"] == kind
    ]


async def test_a_child_has_a_ledger_of_its_own_linked_both_ways_and_answers_with_text(stand: Stand) -> None:
    (stand.folder / "a").write_text("secret word: lark")
    model = family(
        [lines("delegate 'read the file a'"), FINISH],
        [lines("files read a"), lines("finish --status done 'the word is lark'")],
    )

    result = await stand.run(model, FILES, may_delegate=True)

    (child,) = children(stand)
    (opened,) = entries_of(stand, child, "session.opened")
    assert result.status == "done"
    assert (opened["parent"], opened["grant"], opened["task_is_origin"]) == (SESSION, "files", False)
    assert "the word is lark" in told(model.heard[-1])
    assert f"session {child} ended: done" in told(model.heard[-1])
    assert [verify_session(stand.state, session).faults() for session in (SESSION, child)] == [{}, {}]
    assert read_index(StateFiles(stand.state)).sessions.keys() == {SESSION, child}


@pytest.mark.parametrize(
    ("held", "wanted", "may"),
    [
        (held, wanted, frozenset(wanted.replace("none", "").split(",")) - {""} <= frozenset(held.split(", ")))
        for held in ("files", "files, exec")
        for wanted in ("none", "files", "network", "exec", "files,network", "files,exec", "network,exec")
    ],
)
async def test_a_childs_grant_is_within_its_parents(stand: Stand, held: str, wanted: str, may: bool) -> None:  # noqa: FBT001 - a table
    """B41: all seven grants are asked for under two parents; only what lies within is started."""
    model = family([lines(f"delegate --grant {wanted} 'look'"), FINISH], [FINISH])

    await stand.run(model, MAY.format(held), may_delegate=True)

    started = [entry["grant"].split("+") for entry in stand.entries("session.delegated")]
    assert bool(started) == may
    assert may or "would hold" in told(model.heard[-1])


async def test_a_policy_that_does_not_allow_it_offers_no_delegation(stand: Stand) -> None:
    model = family([lines("delegate look"), FINISH], [FINISH])

    await stand.run(model, may_delegate=True)

    assert children(stand) == []
    assert told(model.heard[-1]).startswith("denied (command)")


async def test_a_caller_that_does_not_let_it_has_no_session_that_delegates(stand: Stand) -> None:
    """`tools call` and MCP serve single actions: nothing that they start may start more."""
    model = family([lines("delegate look"), FINISH], [FINISH])

    await stand.run(model, FILES)

    assert children(stand) == []
    assert "this session cannot delegate" in told(model.heard[-1])


async def test_a_child_is_held_to_what_its_parents_policy_hides_and_denies(stand: Stand) -> None:
    """B41: no session below skips what guards the one above."""
    policy = FILES + "files: {hide: ['*.pem']}\n"
    model = family(
        [lines("delegate look"), FINISH],
        [lines("files read key.pem"), lines("http get https://example.com/"), FINISH],
    )
    (stand.folder / "key.pem").write_text("private")

    await stand.run(model, policy, may_delegate=True)

    (child,) = children(stand)
    verdicts = [entry["verdict"] for entry in entries_of(stand, child, "action.intended")]
    assert verdicts == ["denied", "denied", "allowed"]


async def test_a_policy_of_the_library_narrows_and_no_file_is_read_for_one(stand: Stand) -> None:
    wide = stand.folder / "wide.yaml"
    wide.write_text("version: 1\nname: wide\ngrant: [files, exec]\n")
    parent = [
        lines(f"delegate --policy {wide} look"),
        lines("delegate --policy read-only-review look"),
        FINISH,
    ]
    model = family(parent, [lines("files write a"), FINISH])

    await stand.run(model, FILES, may_delegate=True)

    (child,) = children(stand)
    assert "no policy `" in model.heard[1][-1].text  # type: ignore[union-attr]  # an observation
    policy = read_policy(stand.state / "sessions" / child)
    assert (policy.grant, policy.files and policy.files.access) == (Grant.FILES, "read")


async def test_there_is_one_pot_of_turns(stand: Stand) -> None:
    """A parent of 5 turns, whose child takes 3 of them, has 1 left after its first; no child has more."""
    policy = FILES + "budget: {turns: 5}\n"
    looking = [lines(f"files list --depth {depth}") for depth in range(1, 9)]
    model = family([lines("delegate --turns 3 look"), *looking], looking)

    result = await stand.run(model, policy, may_delegate=True)

    (child,) = children(stand)
    (closed,) = entries_of(stand, child, "session.closed")
    assert (closed["status"], closed["reason"]) == ("budget", "the budget of turns ran out: 3 of 3 turns")
    assert (result.exit_code, result.reason) == (5, "the budget of turns ran out: 5 of 5 turns")
    assert len(model.heard) == 5


async def test_a_pot_that_was_spent_below_is_spent_after_a_resume_too(stand: Stand) -> None:
    """The child's own ledger says what it used: the parent's restart does not fill the pot again."""
    policy = FILES + "budget: {tokens: 1000, turns: 50}\n"
    dear = Usage(output_tokens=400)
    parent = [lines("delegate look"), lines("delegate look"), lines("files list"), FINISH]
    model = family(parent, [replace(lines("files list"), usage=dear), replace(FINISH, usage=dear)])

    ran_out = await stand.run(model, policy, may_delegate=True)
    again = await stand.resume(model)
    more = await stand.resume(model, added=replace(NOTHING, tokens=1000))

    past = with_below(read_past(stand.state, SESSION), stand.state)
    assert (ran_out.reason, again.reason) == ("the budget of tokens ran out: 1200 of 1000 tokens",) * 2
    assert (past.used.output_tokens, past.below.output_tokens) == (0, 1200)
    assert more.status == "done"


async def test_depth_and_number_of_sessions_below_are_bounded(stand: Stand) -> None:
    deeper = Model(lambda messages, _: FINISH if told(messages) else lines("delegate deeper"))
    many = family([*(lines(f"delegate --turns {n} look") for n in range(1, 19)), FINISH], [FINISH])

    await stand.run(deeper, FILES, may_delegate=True)
    depth = len(read_index(StateFiles(stand.state)).sessions)
    await stand.run(many, FILES, may_delegate=True, session="ba9876543210")

    started = entries_of(stand, "ba9876543210", "session.delegated")
    assert depth == 3  # the first one and two below it
    assert len(started) == 16
    assert "16 sessions were delegated to" in told(many.heard[-1])


async def test_a_child_counts_as_having_exercised_what_its_parent_did(stand: Stand) -> None:
    """What a narrow child writes at once labels the workspace with the whole line above it."""
    policy = MAY.format("files, exec") + DIRECT
    model = family([lines("delegate --grant files write"), FINISH], [lines("files list"), FINISH])
    workspace = open_workspace(stand.folder, state=stand.state)

    await stand.run(model, policy, may_delegate=True)

    (child,) = children(stand)
    label = labels_of(stand.state).read(workspace.identity)
    exercised = {part.session: sorted(c.value for c in part.exercised) for part in label.contributions}
    assert exercised[child] == ["exec", "files"]
    assert kept_line(stand.state / "sessions" / child, Grant.FILES) == Grant.FILES_EXEC.capabilities


async def test_no_line_exercises_all_three_through_a_narrow_child(stand: Stand) -> None:
    """A label that came while the parent ran would make three with what the parent holds, not the child."""
    policy = MAY.format("files, exec") + "exec: {programs: any}\n"
    workspace = open_workspace(stand.folder, state=stand.state)

    def answer(messages: Sequence[Message], turn: int) -> Reply:
        if task_of(messages) != "a test" or told(messages):
            return FINISH
        why = "another session wrote in it meanwhile"
        wrote_unreviewed(stand.state, workspace.identity, "ba9876543210", Grant.NETWORK.capabilities, why=why)
        return lines(f"delegate --grant files 'read what is there now, {turn}'")

    model = Model(answer)
    await stand.run(model, policy, may_delegate=True)

    (refused,) = stand.entries("action.finished")[:1]
    assert refused["outcome"] == "failed"
    assert "makes three" in told(model.heard[-1])
    assert read_index(StateFiles(stand.state)).sessions.keys() == {SESSION}


async def test_beside_a_running_session_whose_policy_cannot_be_read_none_starts(stand: Stand) -> None:
    """What it holds is not known, so nothing says that the two together stay lawful."""
    refused: list[str] = []

    def beside(_messages: Sequence[Message], _turn: int) -> Reply:
        path = stand.state / "sessions" / SESSION / "policy.yaml"
        path.write_text(path.read_text().replace("cost_usd: 3", "cost_usd: 7e-06"))
        workspace = open_workspace(stand.folder, state=stand.state)
        held = Grant.FILES.capabilities
        with pytest.raises(RefusedError) as caught:
            require_lineage_beside(stand.state, workspace.identity, "z" * 12, held, writes=True)
        refused.append(caught.value.message)
        return FINISH

    await stand.run(Model(beside), FILES)

    assert [text.partition(":")[0] for text in refused] == [
        f"session `{SESSION}` is running, and what it may do cannot be read"
    ]


async def test_last_is_the_session_that_a_person_started_and_not_its_child(stand: Stand) -> None:
    """Of the folder, too; the child, which is newer, has its id."""
    model = family([lines("delegate look"), FINISH], [FINISH])
    await stand.run(model, FILES, may_delegate=True)
    (child,) = children(stand)

    meant = [session_files(given, stand.state) for given in ("last", f"last:{stand.folder}", child)]

    assert [files.folder.name for files in meant] == [SESSION, SESSION, child]


async def test_stopping_the_parent_stops_the_child_and_both_ledgers_are_closed(stand: Stand) -> None:
    reached = asyncio.Event()

    class Waiting(Model):
        async def ask(self, messages: Sequence[Message], tools: Sequence[Any]) -> Reply:
            if task_of(messages) != "a test":
                reached.set()
                await asyncio.Event().wait()
            return await super().ask(messages, tools)

    running = asyncio.ensure_future(
        stand.run(Waiting(lambda _, __: lines("delegate look")), FILES, may_delegate=True)
    )
    await reached.wait()
    running.cancel()
    result = await running

    (child,) = children(stand)
    assert result.status == "interrupted"
    assert entries_of(stand, child, "session.closed")[0]["status"] == "interrupted"
    with pytest.raises(ProcessLookupError):
        os.kill(stand.housing.process.pid, 0)  # type: ignore[union-attr]  # there was one
    assert stand.entries("action.finished") == []


async def test_a_child_whose_sandbox_is_killed_is_told_and_the_parent_goes_on(stand: Stand) -> None:
    def answer(messages: Sequence[Message], _: int) -> Reply:
        if task_of(messages) == "a test":
            return FINISH if told(messages) else lines("delegate look")
        stand.housing.kill()
        return lines("files list")

    model = Model(answer)
    result = await stand.run(model, FILES, may_delegate=True)

    assert result.status == "done"
    assert "sandbox_failed" in told(model.heard[-1])


async def test_a_child_is_not_resumed_by_itself(stand: Stand) -> None:
    """Its budget was its parent's: on its own it would spend the pot twice."""
    model = family([lines("delegate --turns 1 look"), FINISH], [lines("files list"), FINISH])
    await stand.run(model, FILES, may_delegate=True)
    (child,) = children(stand)

    with pytest.raises(InvalidInputError, match=f"was started by session `{SESSION}`"):
        await stand.resume(model, added=parse_budget("turns=5"), session=child)


async def test_what_a_child_said_may_be_withheld_and_what_it_used_still_counts(stand: Stand) -> None:
    """Somebody redacts a secret there: the parent, which was told of it in its own ledger, goes on."""
    dear = Usage(output_tokens=400)
    body = Reply(text="", calls=(Call(call_id="w", proposal=LineProposal(line="files write f", body=b"f")),))
    parent = [lines("delegate look")]
    model = family(parent, [replace(body, usage=dear), replace(FINISH, usage=dear)])
    await stand.run(model, FILES + "budget: {turns: 3}\n", may_delegate=True)
    (child,) = children(stand)
    files = StateFiles(stand.state).session(child)
    said = {e["body"]["digest"] for e in entries_of(stand, child, "action.finished")}
    said |= {e["raw"]["digest"] for e in entries_of(stand, child, "model.answered") if e["raw"]}
    without(files, said)

    result = await stand.resume(saying(FINISH), added=parse_budget("turns=5"))

    past = with_below(read_past(stand.state, SESSION), stand.state)
    assert len(said) == 3
    assert (past.below.turns, past.below.output_tokens, past.allowed["files write"]) == (2, 800, 1)
    assert result.status == "done"
    with pytest.raises(BrokenLedgerError, match="was withheld"):
        read_past(stand.state, child)


def test_killed_with_a_child_at_work_both_are_gone_and_the_parent_goes_on(stand: Stand) -> None:
    """SIGKILL: no guest survives; the model is told that nobody knows, and the child's use stays counted."""
    command = [sys.executable, "-m", "tests.agent_runner.delegating", str(stand.place)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    model = delegating(dies=False)

    result = asyncio.run(stand.resume(model))

    (child,) = children(stand)
    past = with_below(read_past(stand.state, SESSION), stand.state)
    assert result.status == "done"
    assert any("unknown: the runner was stopped" in getattr(m, "text", "") for m in model.heard[-1])
    assert past.below.turns == 2
    assert entries_of(stand, child, "session.closed") == []


async def test_a_script_that_parent_and_child_share_goes_on_behind_the_turns_of_both(stand: Stand) -> None:
    """After a resume neither says again what the other has said already."""
    told = script(
        ["delegate look"],
        ["files list"],
        ["finish --status done 'the child'"],
        ["files list --depth 2"],
        ["finish --status done 'the parent'"],
    )
    policy = FILES + "budget: {turns: 4}\n"

    ran_out = await stand.run(told, policy, may_delegate=True)
    result = await stand.resume(ScriptedBackend(told._script, name=told.model), added=parse_budget("turns=1"))

    asked = [entry["argv"] for entry in stand.entries("action.intended")]
    assert (ran_out.status, result.status, result.reason) == ("budget", "done", "the parent")
    assert asked == [
        ["delegate", "look"],
        ["files", "list", "--depth", "2"],
        ["finish", "--status", "done", "the parent"],
    ]
