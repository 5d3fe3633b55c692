"""Run whole sessions in real containers: a policy, a script of turns, and everything that came of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.approvals import NobodyApprover
from agent_runner.backends.scripted import Script, ScriptedBackend
from agent_runner.session import SessionRequest, SessionResult, run_session
from policies.source import parse_policy
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Reply
    from cli_tools.observation import Observation

Action = str | dict[str, str]


@dataclass
class Ran:
    """What came of a session."""

    result: SessionResult
    seen: list[Observation]
    state: Path

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Return the bodies of the ledger's entries of one type."""
        lines = [json.loads(line) for line in self.result.ledger.read_bytes().splitlines()]
        return [line["body"] for line in lines if line["type"] == kind]


@dataclass
class Eyes:
    """Watch a session."""

    seen: list[Observation] = field(default_factory=list)

    def said(self, turn: int, reply: Reply) -> None:
        """Take no note."""

    def saw(self, observation: Observation) -> None:
        """Keep what was seen."""
        self.seen.append(observation)


@dataclass
class Lab:
    """Run sessions, each with a state folder of its own."""

    new_state: Callable[[], Path]
    folder: Path
    told: list[str] = field(default_factory=list)
    """What was said on the way."""

    def workspace(self, **files: str) -> Path:
        """Make a workspace with these files."""
        path = self.folder / "workspace"
        path.mkdir(exist_ok=True)
        for name, text in files.items():
            (path / name).write_text(text)
        return path

    def run(
        self,
        policy: str,
        actions: Sequence[Action],
        *,
        workspace: Path | None = None,
        state: Path | None = None,
    ) -> Ran:
        """Run a session in which the model proposes these actions one by one, and then finishes."""
        return asyncio.run(self.arun(policy, actions, workspace=workspace, state=state))

    async def arun(
        self,
        policy: str,
        actions: Sequence[Action],
        *,
        workspace: Path | None = None,
        state: Path | None = None,
    ) -> Ran:
        """Do the same inside a loop that runs already; what broke is raised."""
        state = state or self.new_state()
        turns: list[dict[str, Any]] = [{"actions": [action]} for action in actions]
        turns.append({"actions": ["finish --status done"]})
        script = Script.model_validate({"version": 1, "turns": turns})
        eyes = Eyes()
        request = SessionRequest(
            task="a test",
            policy=parse_policy(policy, origin="test.yaml"),
            policy_origin="test.yaml",
            workspace=open_workspace(workspace, state=state) if workspace else None,
            backend=ScriptedBackend(script, name="scripted:test"),
            state=state,
            headless=True,
            task_is_origin=False,
            approver=NobodyApprover(),
            watcher=eyes,
            progress=self._tell,
        )
        result = await run_session(request)
        if result.error is not None:
            raise result.error
        return Ran(result=result, seen=eyes.seen, state=state)

    def _tell(self, message: str, /, *, done: int, total: int) -> None:  # noqa: ARG002 - a Progress
        self.told.append(message)


@pytest.fixture
def lab(new_state: Callable[[], Path], tmp_path: Path) -> Lab:
    """Return a place to run sessions in."""
    return Lab(new_state=new_state, folder=tmp_path)
