"""A model server that says what it likes: each reply is bounded, explained, and ends nothing by accident."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.backend import ObservationMessage
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.pieces import MAXIMUM_ARGUMENTS, MAXIMUM_CALLS, MAXIMUM_TEXT
from agent_runner.fold import read_conversation
from agent_runner.hearing import MOST_CALLS
from audit.verify import verify_session
from tests.agent_runner.hostile_replies import CALLS, ENDLESS, ODD, odd_stream, said
from tests.agent_runner.stand import SESSION
from tests.contract.asking import asked, backend_for
from tests.contract.model_server import Asked, Dialect, Line, Saying, answer, serving, stream

if TYPE_CHECKING:
    from tests.agent_runner.stand import Stand

POLICY = (
    'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\n'
    "budget: {turns: 500, tokens: 1000M}\n"
)
FINISH = Saying(calls=[("f", "finish", '{"status": "done", "summary": "ok"}')])
LONGEST = 3000
"""Characters of an observation that says why something was not done."""
DIALECTS: list[Dialect] = ["chat", "messages"]


def wrong_with(seen: ObservationMessage) -> str:
    """Return what is wrong with an observation of a hostile call; empty when nothing is."""
    problems = {
        "carried out": not seen.refused or not seen.text.startswith(("error", "denied")),
        "unbounded": len(seen.text) > LONGEST,
        "unexplained": len(seen.text) < len("error (usage): "),
        "a control token": "<|im_start|>" in seen.text or "<|im_end|>" in seen.text,
        "a command to the terminal": "\x1b" in seen.text,
        "a false turn": "\n\nHuman:" in seen.text,
    }
    return ", ".join(name for name, holds in problems.items() if holds)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_every_hostile_reply_is_a_bounded_explained_observation(stand: Stand, dialect: Dialect) -> None:
    """Over HTTP, in one session that hears all of them and then ends as the model says."""
    (stand.folder / "a").write_text("a")
    plays = [said(name).play(dialect) for name in CALLS]
    async with serving(*plays, FINISH.play(dialect)) as server:
        backend = backend_for(server, dialect)
        result = await stand.run(backend, POLICY)
        await backend.close()
        heard = [asked.json for asked in server.asked]

    assert (result.status, result.reason) == ("done", "ok")
    conversation = read_conversation(stand.state, SESSION)
    seen = [message for message in conversation if isinstance(message, ObservationMessage)]
    found: dict[str, str] = {}
    for name, calls in CALLS.items():
        taken = min(len(calls), MOST_CALLS)
        for observation in [seen.pop(0) for _ in range(taken)]:
            if problem := wrong_with(observation):
                found[name] = f"{problem}: {observation.text[:200]!r}"
    assert found == {}
    assert (len(seen), len(heard)) == (1, len(CALLS) + 1)
    assert result.totals.actions == sum(min(len(calls), MOST_CALLS) for calls in CALLS.values()) + 1
    assert verify_session(stand.state, SESSION).faults() == {}
    assert [path.name for path in stand.folder.iterdir()] == ["a"]


@pytest.mark.parametrize(("dialect", "name"), ODD, ids=[f"{dialect}: {name}" for dialect, name in ODD])
async def test_a_stream_that_is_none_is_a_reply_within_bounds_or_one_line(
    dialect: Dialect, name: str
) -> None:
    async with serving(stream(*odd_stream(dialect, name))) as server:
        backend = backend_for(server, dialect)
        try:
            reply = await asyncio.wait_for(asked(backend), 60)
        except ModelServerError as error:
            assert "\n" not in error.message  # noqa: PT017 - either of the two is right
            assert 10 < len(error.message) < 600  # noqa: PT017 - as above
            return

    assert len(reply.text) <= MAXIMUM_TEXT + 100
    assert len(reply.calls) <= MAXIMUM_CALLS
    assert 0 <= reply.usage.input_tokens <= 10**12
    assert 0 <= reply.usage.output_tokens <= 10**12


@pytest.mark.parametrize(
    ("dialect", "name"), [(dialect, name) for dialect, streams in ENDLESS.items() for name in streams]
)
async def test_what_never_ends_is_cut_and_the_server_is_hung_up_on(dialect: Dialect, name: str) -> None:
    begin = Saying(text="it begins").pieces(dialect)[:3]

    async def play(line: Line, _asked: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        for piece in begin:
            await line.send(piece)
        while not line.closed.is_set():
            await line.send(ENDLESS[dialect][name])

    async with serving(play) as server:
        reply = await asyncio.wait_for(asked(backend_for(server, dialect)), 120)
        await server.gone()

    kept = len(reply.text) + len(reply.reasoning) + sum(len(str(call.proposal)) for call in reply.calls)
    assert "[the reply was cut here: " in reply.text
    assert kept < MAXIMUM_TEXT + MAXIMUM_ARGUMENTS + 10_000


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("what", ["the same call", "the same nonsense", "no reply"])
async def test_what_makes_no_headway_ends_the_session_with_a_clear_reason(
    stand: Stand, dialect: Dialect, what: str
) -> None:
    """Three the same in a row; a server that gives no reply is not asked for ever either."""
    plays: dict[str, Any] = {
        "the same call": Saying(calls=[("c", "files_list", "{}")]).play(dialect),
        "the same nonsense": Saying(calls=[("c", "terminal", "{")]).play(dialect),
        "no reply": answer(200, json.dumps({"error": {"message": "no\x1b[2J"}})),
    }
    async with serving(plays[what]) as server:
        backend = backend_for(server, dialect)
        result = await asyncio.wait_for(stand.run(backend, POLICY), 120)
        await backend.close()

    if what == "no reply":
        assert (result.status, result.exit_code) == ("model_failed", 7)
    else:
        assert (result.status, result.exit_code, len(server.asked)) == ("failed", 1, 3)
        assert result.reason == "the model made the same calls 3 times in a row"
    assert "\x1b" not in result.reason
    assert verify_session(stand.state, SESSION).faults() == {}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_calls_at_once_that_conflict_are_done_one_after_the_other(
    stand: Stand, dialect: Dialect
) -> None:
    """As they stand, each seeing what the one before it did; the same id does not mix their answers up."""
    calls = [
        ("same", "files_write", '{"path": "f", "content": "one"}'),
        ("same", "files_write", '{"path": "f", "content": "two"}'),
        ("same", "files_remove", '{"path": "f"}'),
        ("same", "files_read", '{"path": "f"}'),
    ]
    async with serving(Saying(calls=calls).play(dialect), FINISH.play(dialect)) as server:
        backend = backend_for(server, dialect)
        result = await stand.run(backend, POLICY)
        await backend.close()

    assert (result.status, result.reason) == ("done", "ok")
    assert [seen.kind for seen in stand.eyes.seen] == ["done", "done", "done", "error", "done"]
    answered = [
        m.call_id for m in read_conversation(stand.state, SESSION) if isinstance(m, ObservationMessage)
    ]
    assert len(set(answered)) == len(answered)
