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
from audit import opened_in_a_thread
from audit.begin import Opened, begin
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


class Held:
    """The opening of a ledger, in its thread, which waits until the test lets it go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on, self.done = threading.Event(), threading.Event(), threading.Event()
        monkeypatch.setattr(opened_in_a_thread, "begin", self._begin)

    def _begin(self, *arguments: Any) -> Opened:
        self.begun.set()
        assert self.go_on.wait(60)
        try:
            return begin(*arguments)
        finally:
            self.done.set()


def without_a_grant(stand: Stand) -> SessionRequest:
    """Return a request that opens its ledger at once."""
    path = stand.place / "none.yaml"
    path.write_text("version: 1\nname: none\ngrant: []\n")
    request = session_request("t", policy=str(path), model=saying(FINISH), state=stand.state)
    return replace(request, housing=stand.housing)


def left_open(stand: Stand) -> tuple[list[str], list[str]]:
    """Return the sessions that seem to run, and the threads that write a ledger."""
    running = [row.session for row in listed(stand.state) if row.status == "running"]
    return running, [each.name for each in threading.enumerate() if each.name.startswith("ledger-")]


@pytest.mark.parametrize("cancelled", [True, False])
async def test_a_session_that_is_cancelled_while_its_ledger_is_opened_does_not_seem_to_run_on(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, *, cancelled: bool
) -> None:
    """A program may live long: the lock would be held, and the workspace be somebody's, until it ends."""
    held = Held(monkeypatch)
    running = asyncio.ensure_future(arun_session(without_a_grant(stand)))
    await asyncio.to_thread(held.begun.wait, 60)

    if cancelled:
        running.cancel()
        await asyncio.sleep(0)
    held.go_on.set()
    ended = (await asyncio.gather(running, return_exceptions=True))[0]
    await asyncio.to_thread(held.done.wait, 60)

    assert isinstance(ended, asyncio.CancelledError) == cancelled
    assert left_open(stand) == ([], [])


def test_a_loop_that_ends_while_a_session_opens_its_ledger_leaves_it_closed(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop's end cancels every task at once, those too that wait for what another one opens."""
    held = Held(monkeypatch)

    async def main() -> None:
        tasks.append(asyncio.ensure_future(arun_session(without_a_grant(stand))))
        await asyncio.to_thread(held.begun.wait, 60)
        asyncio.get_running_loop().call_later(0.1, held.go_on.set)

    tasks: list[asyncio.Future[Any]] = []
    asyncio.run(main())

    assert tasks[0].cancelled()
    assert left_open(stand) == ([], [])


async def test_last_is_no_session_that_was_cancelled_before_it_began(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing in it to go on with, and it would hide the one before."""
    before = await arun_session(without_a_grant(stand))
    with monkeypatch.context() as patch:
        held = Held(patch)
        running = asyncio.ensure_future(arun_session(without_a_grant(stand)))
        await asyncio.to_thread(held.begun.wait, 60)
        running.cancel()
        held.go_on.set()
        with suppress(asyncio.CancelledError):
            await running

    assert [row.status for row in listed(stand.state)] == ["done", "interrupted"]
    assert resume_request("last", model=saying(FINISH), state=stand.state).session == before.session
    after = await arun_session(without_a_grant(stand))
    assert resume_request("last", model=saying(FINISH), state=stand.state).session == after.session


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
