"""A container that its dead runner never started is removed by the next session."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_runner.state_label import state_label
from agent_runner.sweep import sweep_created
from policies.grant import Grant
from sandbox.docker_engine import DockerEngine
from sandbox.spec import LABEL_SESSION, LABEL_STATE
from tests.sandbox.conftest import ground  # noqa: F401 - the fixture
from tests.sandbox.live import still_there

if TYPE_CHECKING:
    from tests.promises.conftest import Lab
    from tests.sandbox.live import Ground

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("session", ["0f0f0f0f0f0f", "probe-0f0f0f0f0f0f"])
async def test_the_next_session_removes_what_a_dead_runner_created(
    lab: Lab,
    ground: Ground,  # noqa: F811 - the fixture
    session: str,
) -> None:
    """And leaves what is not a session's, such as the containers of a battery that is being run."""
    state = lab.new_state()
    spec = await ground.spec(Grant.NONE)
    labels = {**spec.labels, LABEL_SESSION: session, LABEL_STATE: state_label(state)}
    engine = await DockerEngine.connect()
    container = await engine.create(replace(spec, labels=labels))
    try:
        removed = await sweep_created(engine, state, label=state_label(state))

        is_session = not session.startswith("probe-")
        assert removed == ((session,) if is_session else ())
        assert await still_there(container) != is_session
    finally:
        await engine.remove(container)
        await engine.close()
