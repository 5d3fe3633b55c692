"""A server that says behind its 200 that it takes no question now is waited for, as one that answers 529."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.agent_runner.sleeping import Clock
from tests.contract.asking import backend_for
from tests.contract.model_server import Saying, data, event, serving, stream

if TYPE_CHECKING:
    from tests.agent_runner.stand import Stand
    from tests.contract.model_server import Dialect


@pytest.mark.parametrize("dialect", ["chat", "messages"])
async def test_a_server_that_says_within_its_stream_that_it_is_overloaded_is_waited_for(
    stand: Stand, dialect: Dialect
) -> None:
    """Anthropic's answers 200 and then says so; to a session it is as down as with 529."""
    clock = Clock()
    error = {"type": "overloaded_error", "message": "Overloaded"}
    told = data({"error": error}) if dialect == "chat" else event({"type": "error", "error": error})
    act = Saying(calls=[("a", "files_list", "{}")]).play(dialect)
    end = Saying(calls=[("b", "finish", '{"status": "done"}')]).play(dialect)

    async with serving(act, stream(told), stream(told), end) as server:
        result = await stand.run(backend_for(server, dialect), outage=clock.outage)

    assert (result.status, result.totals.turns, clock.seconds) == ("done", 2, 30)
    assert [entry["will_retry"] for entry in stand.entries("model.failed")] == [True, True]
