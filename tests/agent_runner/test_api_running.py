"""From Python a session goes on, is reached from other terminals and is cancelled, as on the command line."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner import aresume_session, arun_session, resume_request, session_request
from agent_runner.door import socket_path, tell
from agent_runner.errors import InvalidInputError
from agent_runner.following import follow_session
from agent_runner.listing import listed
from agent_runner.state_label import state_label
from audit.chain import Entry
from audit.state import StateFiles
from audit.verify import verify_session
from sandbox.docker_engine import DockerEngine
from tests.agent_runner.stand import FINISH, GuestHousing, Model, lines, saying

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Message, Reply
    from agent_runner.request import SessionRequest
    from cli_tools.schema import Tool
    from tests.agent_runner.stand import Stand

POLICY = (
    'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"], ask: ["files remove"]}\n'
    "budget: {turns: 2}\n"
)
EXEC = "version: 1\nname: x\ngrant: [exec]\nexec: {programs: any}\ncommands: {allow: [run]}\n"
SCRIPT = 'version: 1\nturns: [{actions: ["run sleep 300"]}, {actions: ["finish --status done"]}]\n'


pytestmark = pytest.mark.usefixtures("runtime")


def asked(stand: Stand, model: Model, **changes: Any) -> SessionRequest:
    """Return a request as a program makes it."""
    path = stand.place / "p.yaml"
    path.write_text(POLICY)
    request = session_request(
        "t", policy=str(path), workspace=stand.folder, model=model, state=stand.state, **changes
    )
    return replace(request, housing=stand.housing, session="0123456789ab")


async def test_a_reachable_session_is_answered_from_elsewhere_and_another_is_not(stand: Stand) -> None:
    """What `pairlock approve` does; without `reachable` there is no socket, and `ask` is a denial."""
    (stand.folder / "a").write_text("a")
    model = saying(lines("files remove a"), FINISH)
    running = asyncio.ensure_future(arun_session(asked(stand, model, reachable=True)))
    question = None
    while question is None:
        await asyncio.sleep(0.05)
        with suppress(InvalidInputError):  # it does not listen yet
            question = (await asyncio.to_thread(tell, "0123456789ab", do="status"))["question"]
    assert isinstance(question, dict)
    await asyncio.to_thread(
        tell, "0123456789ab", do="approve", action=question["action"], digest=question["digest"]
    )
    result = await running

    (stand.folder / "a").write_text("a")
    unreached = asked(stand, saying(lines("files remove a"), FINISH))
    denied = await arun_session(replace(unreached, session="ba9876543210"))

    assert (result.status, result.totals.denials) == ("done", 0)
    assert not socket_path("0123456789ab").exists()
    assert (denied.status, denied.totals.denials) == ("done", 1)
    assert (stand.folder / "a").exists()


async def test_a_session_goes_on_with_a_model_of_the_callers_own_and_a_larger_budget(stand: Stand) -> None:
    looking = [lines(f"files list --depth {depth}") for depth in (1, 2)]
    ended = await arun_session(asked(stand, saying(*looking)))
    request = resume_request("last", add_budget="turns=3", model=saying(FINISH), state=stand.state)

    result = await aresume_session(replace(request, housing=stand.housing))

    entries = list(follow_session(stand.state, ended.session))
    assert (ended.status, ended.exit_code, result.status) == ("budget", 5, "done")
    assert all(isinstance(entry, Entry) for entry in entries)
    assert entries[-1].seq == len(entries) - 1


async def test_what_cannot_go_on_is_refused_when_it_is_asked_for(stand: Stand) -> None:
    await arun_session(asked(stand, saying(lines("files list"), FINISH)))

    with pytest.raises(InvalidInputError, match="does not say which model"):
        resume_request("last", state=stand.state)
    with pytest.raises(InvalidInputError, match="adds to no budget"):
        resume_request("last", model=saying(), add_budget="luck=1", state=stand.state)


async def test_of_two_sessions_in_one_loop_the_cancelled_one_ends_and_the_other_goes_on(stand: Stand) -> None:
    """Each has a sandbox, a ledger and a budget of its own; the program's task is cancelled, and no more."""
    asked_first, go_on = asyncio.Event(), asyncio.Event()

    class Waiting(Model):
        """A model that is waited for."""

        async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
            """Answer when the test says so."""
            asked_first.set()
            await go_on.wait()
            return await super().ask(messages, tools)

    path = stand.place / "none.yaml"
    path.write_text("version: 1\nname: none\ngrant: []\n")
    first, second = (
        replace(
            session_request("t", policy=str(path), model=Waiting(lambda *_: FINISH), state=stand.state),
            housing=GuestHousing(stand.folder),
        )
        for _ in range(2)
    )
    running = [asyncio.ensure_future(arun_session(each)) for each in (first, second)]
    await asked_first.wait()

    running[0].cancel()
    ended = await running[0]
    go_on.set()
    other = await running[1]

    assert (ended.status, other.status) == ("interrupted", "done")
    assert ended.session != other.session
    assert [verify_session(stand.state, each.session).faults() for each in (ended, other)] == [{}, {}]


async def test_a_session_that_is_cancelled_while_its_ledger_is_opened_does_not_seem_to_run_on(
    stand: Stand,
) -> None:
    """A program may live long: the lock would be held, and the workspace be somebody's, until it ends."""
    path = stand.place / "none.yaml"
    path.write_text("version: 1\nname: none\ngrant: []\n")
    request = session_request("t", policy=str(path), model=saying(FINISH), state=stand.state)

    for tick in range(24):
        running = asyncio.ensure_future(arun_session(replace(request, housing=stand.housing)))
        await asyncio.sleep(tick / 1000)
        running.cancel()
        with suppress(asyncio.CancelledError):  # raised where not a line of the session is written
            await running

    assert [row.session for row in listed(stand.state) if row.status == "running"] == []
    assert [each.name for each in threading.enumerate() if each.name.startswith("ledger-")] == []


@pytest.mark.engine
async def test_a_cancelled_session_leaves_no_container_and_can_be_resumed(
    tmp_path: Path, new_state: Callable[[], Path]
) -> None:
    """By a time-out of the caller's, in mid-action: it returns `interrupted`, its ledger closed."""
    state = new_state()
    (tmp_path / "p.yaml").write_text(EXEC)
    (tmp_path / "s.yaml").write_text(SCRIPT)
    request = session_request(
        "t", policy=str(tmp_path / "p.yaml"), model=f"scripted:{tmp_path / 's.yaml'}", state=state
    )
    running = asyncio.ensure_future(arun_session(replace(request, session="0123456789ab")))
    ledger = StateFiles(state).session("0123456789ab").events
    while not (ledger.exists() and b'"action.intended"' in ledger.read_bytes()):
        assert not running.done()
        await asyncio.sleep(0.1)

    running.cancel()
    result = await running

    engine = await DockerEngine.connect()
    try:
        left = [
            each for each in await engine.owned(state=state_label(state)) if each.session == result.session
        ]
    finally:
        await engine.close()
    assert (result.status, result.exit_code, left) == ("interrupted", 130, [])
    assert verify_session(state, result.session).faults() == {}
    assert resume_request("last", state=state).session == result.session
