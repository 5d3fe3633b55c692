"""A task whose model's server went down waits two minutes for it, for nobody is there to end the waiting."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_runner.ci.one import OUTAGE_SECONDS, request_of
from agent_runner.ci.placing import Bench
from agent_runner.ci.reading import read_task
from agent_runner.session import run_session
from tests.agent_runner.reachable import going_down
from tests.agent_runner.sleeping import Clock
from tests.agent_runner.stand import FINISH, SESSION, Stand, lines, quiet

if TYPE_CHECKING:
    from tests.agent_runner.ci.task_stand import Project


@pytest.mark.parametrize(
    ("down_seconds", "waited_seconds", "exit_code"),
    [(OUTAGE_SECONDS / 2, 70.0, 0), (10 * OUTAGE_SECONDS, OUTAGE_SECONDS, 7)],
)
async def test_a_task_waits_two_minutes_for_a_server_that_went_down(
    stand: Stand, project: Project, down_seconds: float, waited_seconds: float, exit_code: int
) -> None:
    """Down for longer, it ends with 7 and not with the code of its budget."""
    clock = Clock()
    model = going_down(lines("files list"), FINISH, seconds=down_seconds, monotonic=clock.now)
    bench = Bench(state=stand.state, tell=print, progress=quiet, watcher=stand.eyes, began=print)

    request = request_of(read_task(project.task()), bench, model, session=SESSION)
    outage = clock.bounded(request.outage.given_up_seconds)
    result = await run_session(replace(request, housing=stand.housing, outage=outage))

    assert (result.exit_code, clock.seconds) == (exit_code, waited_seconds)
