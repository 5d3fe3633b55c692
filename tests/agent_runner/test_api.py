"""The Python API starts the same sessions as the command line, and refuses the same."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import agent_runner
from agent_runner import models, run_session, session_request
from agent_runner.errors import InvalidInputError, RefusedError
from tests.agent_runner.stand import FINISH, POLICY, lines, saying

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.stand import Stand


@pytest.fixture
def policy(stand: Stand) -> str:
    """Write a policy outside the workspace and return its path."""
    path = stand.place / "p.yaml"
    path.write_text(POLICY)
    return str(path)


async def test_a_session_is_run_with_a_backend_of_the_callers_own(stand: Stand, policy: str) -> None:
    """What `session_request` makes is all that a session needs."""
    model = saying(lines("files list"), FINISH)
    request = session_request("t", policy=policy, workspace=stand.folder, model=model, state=stand.state)

    result = await asyncio.to_thread(run_session, replace(request, housing=stand.housing))

    assert (result.status, result.exit_code, result.totals.actions) == ("done", 0, 2)
    assert request.headless


CONFIGURED = "version: 1\nmodels:\n  default: {backend: openai, model: a, context: 2k}\n"


def test_the_model_of_a_request_has_the_reference_that_the_command_line_gives_it(
    stand: Stand, policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what the configuration says of the default model, its `context` for one, would have no effect."""
    (tmp_path / "config.yaml").write_text(CONFIGURED)
    monkeypatch.setattr(models, "configuration_path", lambda: tmp_path / "config.yaml")

    named, own = (
        session_request("t", policy=policy, workspace=stand.folder, model=model, state=stand.state)
        for model in (None, saying())
    )

    assert models.context_tokens(named.model_reference) == 2000
    assert own.model_reference == ""


def test_a_policy_with_files_needs_a_workspace_and_one_without_takes_none(
    stand: Stand, policy: str, tmp_path: Path
) -> None:
    none = tmp_path / "none.yaml"
    none.write_text("version: 1\nname: none\ngrant: []\n")

    with pytest.raises(InvalidInputError, match="needs a workspace"):
        session_request("t", policy=policy, model=saying(), state=stand.state)
    with pytest.raises(InvalidInputError, match="would be ignored"):
        session_request("t", policy=str(none), workspace=stand.folder, model=saying(), state=stand.state)


def test_a_policy_inside_the_workspace_is_refused_as_on_the_command_line(stand: Stand) -> None:
    """A cloned repository must not grant itself anything, through this door either."""
    inside = stand.folder / "pairlock.yaml"
    inside.write_text(POLICY)

    with pytest.raises(RefusedError, match="is not trusted as it stands"):
        session_request("t", policy=str(inside), workspace=stand.folder, model=saying(), state=stand.state)


def test_every_name_of_the_api_is_there() -> None:
    assert all(callable(getattr(agent_runner, name)) for name in agent_runner.__all__)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, agent_runner; print(any(m in sys.modules for m in ('docker', 'pydantic', 'asyncio')))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
