"""The forms for programs without a loop: in any thread, at Ctrl-C, and refused where a loop runs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner import (
    resume_request,
    resume_session,
    run_command,
    run_session,
    session_request,
)
from agent_runner.errors import InvalidInputError
from audit.verify import verify_session
from tests.agent_runner.stand import FINISH, IN_ITS_SANDBOX, POLICY, GuestHousing, Model, lines, saying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from agent_runner.backends.backend import Backend, Message, Reply
    from agent_runner.housing import Housed, Order
    from agent_runner.request import SessionRequest
    from cli_tools.schema import Tool
    from tests.agent_runner.stand import Stand

EXEC = "version: 1\nname: x\ngrant: [exec]\nexec: {programs: any}\n"


def asked(stand: Stand, model: Backend, policy: str = POLICY) -> SessionRequest:
    """Return a request as a program makes it."""
    path = stand.place / "p.yaml"
    path.write_text(policy)
    workspace = stand.folder if policy == POLICY else None
    request = session_request("t", policy=str(path), workspace=workspace, model=model, state=stand.state)
    return replace(request, housing=stand.housing)


def in_a_thread(call: Callable[[], object]) -> Any:
    """Return what a call returns or raises in a thread that is not the main one."""
    came: list[object] = []

    def work() -> None:
        try:
            came.append(call())
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            came.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return came[0]


FORMS = {
    "run_session": lambda stand: run_session(asked(stand, saying())),
    "resume_session": lambda stand: resume_session(
        resume_request("last", model=saying(FINISH), state=stand.state)
    ),
    "run_command": lambda stand: run_command(asked(stand, saying(), EXEC), ["true"]),
}


@pytest.mark.parametrize("name", FORMS)
async def test_where_a_loop_runs_the_other_form_is_named_and_nothing_is_started(
    stand: Stand, name: str
) -> None:
    """A notebook's cell has a loop; a coroutine that nobody waits for would be a warning, and so an error."""
    await asyncio.to_thread(run_session, asked(stand, saying()))
    before = len(list((stand.state / "sessions").iterdir()))

    with pytest.raises(InvalidInputError, match="a loop runs in this thread already") as raised:
        FORMS[name](stand)

    assert raised.value.hint == f"`await agent_runner.a{name}(…)`"
    assert len(list((stand.state / "sessions").iterdir())) == before


def test_sessions_run_one_after_the_other_in_any_thread_and_leave_the_process_as_it_was(stand: Stand) -> None:
    heard = {number: signal.getsignal(number) for number in signal.valid_signals()}
    settings = dict(os.environ), Path.cwd(), threading.active_count()
    request = asked(stand, saying(lines("files list"), FINISH, FINISH))

    results = [in_a_thread(lambda: run_session(request)), run_session(request)]

    assert [result.status for result in results] == ["done", "done"]
    assert heard == {number: signal.getsignal(number) for number in signal.valid_signals()}
    assert settings == (dict(os.environ), Path.cwd(), threading.active_count())


def test_a_command_runs_in_a_thread_too_which_no_signal_reaches(stand: Stand) -> None:
    """As a server's worker would run one; only the main thread may listen to signals."""
    ran = in_a_thread(lambda: run_command(asked(stand, saying(), EXEC), ["sh", "-c", "exit 3"]))

    assert (ran.code, ran.result.status) == (3, "failed")


class Interrupting(Model):
    """A model that is asked while its user presses Ctrl-C."""

    def __init__(self) -> None:
        super().__init__(lambda *_: FINISH)

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """Press it, once."""
        if not self.heard:
            os.kill(os.getpid(), signal.SIGINT)
            self.heard.append(tuple(messages))
            await asyncio.sleep(60)
        return await super().ask(messages, tools)


def test_ctrl_c_ends_the_session_in_order_and_is_told_in_its_result(stand: Stand) -> None:
    """As a cancelled `arun_session` returns; the session can be gone on with."""
    model = Interrupting()

    result = run_session(replace(asked(stand, model), **IN_ITS_SANDBOX))
    again = resume_session(
        replace(
            resume_request(result.session, model=model, state=stand.state),
            housing=stand.housing,
        )
    )

    assert (result.status, result.exit_code, again.status) == ("interrupted", 130, "done")
    assert verify_session(stand.state, result.session).faults() == {}


class Leaving(GuestHousing):
    """A sandbox that takes a moment to remove, while Ctrl-C is pressed again."""

    def __init__(self, folder: Path, presses: int) -> None:
        super().__init__(folder)
        self.presses = presses
        self.removed = False

    @asynccontextmanager
    async def house(self, order: Order) -> AsyncIterator[Housed]:
        """Give one."""
        async with super().house(order) as housed:
            try:
                yield housed
            finally:
                for _ in range(self.presses):
                    os.kill(os.getpid(), signal.SIGINT)
                    await asyncio.sleep(0.1)
                self.removed = True


def test_ctrl_c_pressed_twice_out_of_habit_leaves_no_sandbox(stand: Stand) -> None:
    housing = Leaving(stand.folder, presses=1)

    result = run_session(replace(asked(stand, Interrupting()), housing=housing, **IN_ITS_SANDBOX))

    assert (result.status, housing.removed) == ("interrupted", True)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_pressed_three_times_is_the_programs(stand: Stand) -> None:
    housing = Leaving(stand.folder, presses=2)

    with pytest.raises(KeyboardInterrupt):
        run_session(replace(asked(stand, Interrupting()), housing=housing, **IN_ITS_SANDBOX))

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("presses", [2, 3])
def test_ctrl_c_is_heard_while_the_programs_model_holds_the_loop_up(stand: Stand, presses: int) -> None:
    """Who asks without `await` would have to be killed from elsewhere, and the sandbox with it."""
    heard: list[int] = []

    def answer(_messages: Sequence[Message], _turn: int) -> Reply:
        for press in range(1, presses + 1):
            signal.raise_signal(signal.SIGINT)
            heard.append(press)
        return lines("files list")

    request = replace(asked(stand, Model(answer)), **IN_ITS_SANDBOX)
    status = ""
    with suppress(KeyboardInterrupt):
        status = run_session(request).status

    assert (status, heard) == ("interrupted" if presses == 2 else "", [1, 2])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class Entering(Leaving):
    """The same, where Ctrl-C is pressed before the command begins as well: it hears of none."""

    @asynccontextmanager
    async def house(self, order: Order) -> AsyncIterator[Housed]:
        """Give none."""
        async with super().house(order) as housed:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)
            yield housed


def test_ctrl_c_pressed_twice_at_a_command_leaves_no_sandbox(stand: Stand) -> None:
    housing = Entering(stand.folder, presses=1)

    ran = run_command(replace(asked(stand, saying(), EXEC), housing=housing), ["true"])

    assert (ran.result.status, housing.removed) == ("interrupted", True)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("name", ["run_session", "run_command"])
def test_ctrl_c_before_a_session_has_begun_is_the_programs(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Nothing is there to be ended in order: while a credential's command runs, for example."""

    async def waits(*_words: object, **_named: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

    monkeypatch.setattr("agent_runner.session.keyring_for", waits)

    with pytest.raises(KeyboardInterrupt):
        FORMS[name](stand)

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_programs_own_is_left_alone(stand: Stand) -> None:
    came: list[int] = []

    def answer(_messages: Sequence[Message], _turn: int) -> Reply:
        os.kill(os.getpid(), signal.SIGINT)
        return FINISH

    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        result = run_session(asked(stand, Model(answer)))
    finally:
        signal.signal(signal.SIGINT, before)

    assert (result.status, came) == ("done", [signal.SIGINT])
