"""A seed of a matrix reaches the model's server, and a model that takes none is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_runner.backends.backend import UserMessage
from agent_runner.backends.chat_completions import OpenAIBackend, chat_request
from agent_runner.backends.chat_wire import wire_message
from agent_runner.backends.closed import require_closed
from agent_runner.ci.cases import cases_of
from agent_runner.ci.one import backend_of
from agent_runner.ci.reading import read_task
from agent_runner.errors import InvalidInputError
from tests.agent_runner.ci.task_stand import TASK

if TYPE_CHECKING:
    from tests.agent_runner.ci.task_stand import Project

SEEDS = "matrix: {seeds: [0, 7]}\n"


def test_each_case_asks_with_its_seed_and_a_task_without_seeds_names_none(project: Project) -> None:
    base = TASK.replace("scripted:../script.yaml", "openai:m@http://127.0.0.1:9/v1")
    task = read_task(project.task(SEEDS, base=base))

    requests = []
    for case in (*cases_of([task]), replace(task, seed=None)):
        backend = backend_of(case, tell=print)
        assert isinstance(backend, OpenAIBackend)
        requests.append(chat_request(backend.talk.server, [wire_message(UserMessage(text="x"))], ()))

    assert [request.get("seed", "none") for request in requests] == [0, 7, "none"]
    for request in requests:
        require_closed("chat", request)


def test_a_model_that_takes_no_seed_is_refused_before_anything_runs(project: Project) -> None:
    project.script('["finish --status done ok"]')
    case = cases_of([read_task(project.task(SEEDS))])[0]

    with pytest.raises(InvalidInputError) as refused:
        backend_of(case, tell=print)

    assert "takes no seed" in refused.value.message
