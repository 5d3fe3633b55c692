"""A session that is stopped, in whatever way and however often, is closed in order and told truly."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from agent_runner import session
from agent_runner.ending import status_of_error
from agent_runner.errors import InvalidInputError
from agent_runner.pulse import Pulse, RunnerStoppedError
from agent_runner.request import require_task
from audit.verify import verify_session
from sandbox.limits import Limits
from tests.agent_runner.stand import FINISH, IN_ITS_SANDBOX, SESSION, Model, lines, saying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_runner.housing import Housed, Housing, Order
    from tests.agent_runner.stand import Stand


class NeverAnswers:
    """A model that lets itself be waited for."""

    kind = model = "slow"

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def ask(self, *_: object) -> object:
        """Wait for ever."""
        self.asked.set()
        await asyncio.Event().wait()
        return None

    async def close(self) -> None:
        """Do nothing."""


class SlowToLeave:
    """A housing that takes its time to take a sandbox away."""

    def __init__(self, inner: Housing) -> None:
        self._inner = inner
        self.closing = asyncio.Event()
        self.go_on = asyncio.Event()

    @contextlib.asynccontextmanager
    async def house(self, order: Order) -> AsyncIterator[Housed]:
        """Give what the other gives."""
        async with self._inner.house(order) as housed:
            try:
                yield housed
            finally:
                self.closing.set()
                await self.go_on.wait()


async def test_a_session_interrupted_again_while_it_closes_is_closed_in_order(
    stand: Stand,
) -> None:
    """Ctrl-C twice, or `pairlock stop` and Ctrl-C: the second finds it closing, and takes nothing away."""
    housing = SlowToLeave(stand.housing)
    backend = NeverAnswers()
    request = stand.request(backend, housing=housing, **IN_ITS_SANDBOX)  # type: ignore[arg-type]  # it never answers
    running = asyncio.ensure_future(session.run_session(request))
    await backend.asked.wait()

    running.cancel()
    await housing.closing.wait()
    running.cancel()
    await asyncio.sleep(0)
    housing.go_on.set()
    result = await running

    assert (result.status, result.exit_code) == ("interrupted", 130)
    assert [entry["status"] for entry in stand.entries("session.closed")] == ["interrupted"]
    assert verify_session(stand.state, SESSION).faults() == {}


async def test_what_means_no_command_is_an_error_and_no_denial(stand: Stand) -> None:
    """Only the policy denies; the account does not count a typing mistake against the agent."""
    backend = saying(lines("files frobnicate"), lines("http get https://example.com/"), FINISH)

    result = await stand.run(backend)

    assert [seen.kind for seen in stand.eyes.seen] == ["error", "denied", "done"]
    assert (result.totals.actions, result.totals.denials) == (3, 1)


async def test_resumed_the_count_of_denials_is_the_same(stand: Stand) -> None:
    """The fold over the ledger counts as the record did."""
    await stand.run(saying(lines("files frobnicate"), lines("http get https://example.com/")))

    result = await stand.resume(saying(FINISH))

    assert (result.totals.actions, result.totals.denials) == (3, 1)


@pytest.mark.parametrize(("pause", "stopped"), [(1.0, False), (8.9, False), (9.0, True), (60.0, True)])
def test_a_runner_that_was_stopped_longer_than_the_lease_says_so(pause: float, *, stopped: bool) -> None:
    """The guest's lease is 10 s, and its last beat may be a second old when the runner is stopped."""
    now = 100.0
    pulse = Pulse(monotonic=lambda: now)
    now += 1.0
    pulse.beat()

    now += pause
    pulse.beat()
    now += 0.5

    if stopped:
        with pytest.raises(RunnerStoppedError) as caught:
            pulse.require_unbroken()
        assert caught.value.seconds == pause - 1.0
        assert status_of_error(caught.value) == "interrupted"
    else:
        pulse.require_unbroken()


@pytest.mark.parametrize("task", ["", " ", "\n\t"])
def test_an_empty_task_is_refused(task: str) -> None:
    """There is nothing to do, and nothing is started."""
    with pytest.raises(InvalidInputError, match=r"TASK is `.*`, expected a sentence"):
        require_task(task)

    require_task("x")


async def test_a_session_whose_actions_put_out_too_much_ends_with_5(stand: Stand) -> None:
    """All actions together have a bound, named like the other budgets; a resumed session has no new one."""
    (stand.folder / "big").write_text("x" * 3000)
    stand.housing.limits = Limits(session_output_bytes=5000)
    backend = Model(lambda *_: lines("files read big --lines 1", "files list"))

    result = await stand.run(backend)
    again = await stand.resume(backend)

    assert (result.status, result.exit_code) == ("budget", 5)
    assert result.reason.startswith("the budget of output ran out: ")
    assert [entry["limit"] for entry in stand.entries("limit.hit")][:1] == ["budget.output"]
    assert (again.status, again.totals.turns) == ("budget", result.totals.turns)
