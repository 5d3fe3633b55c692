"""Measure what the runner adds to a model's own time: a session of a model that answers at once."""

from __future__ import annotations

import os
import time
from statistics import median
from typing import TYPE_CHECKING, Final

from agent_runner.approvals import NobodyApprover
from agent_runner.backends.backend import Call, Reply
from agent_runner.bench.host import durable_write
from agent_runner.bench.row import Row, timed
from agent_runner.request import SessionRequest
from agent_runner.session import run_session
from cli_tools.action import LineProposal
from policies.source import parse_policy
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Message
    from cli_tools.observation import Observation
    from cli_tools.schema import Tool
    from sandbox.runtime.engine import Progress

TURNS: Final = 120
WRITES_A_TURN: Final = 6
"""Question, answer, intent, outcome, each durable before what follows it; and before question and outcome, in
a file of its own, what they commit to."""
POLICY: Final = (
    "version: 1\nname: bench\ngrant: [files]\ncommands: {allow: [files *]}\nbudget: {turns: 1000}\n"
)


class _AtOnce:
    """A model that answers at once, and notes how long it was not asked; `backend.Backend`."""

    kind = "bench"
    model = "bench"

    def __init__(self, floor: int) -> None:
        self._floor = floor
        self._answered = 0.0
        self.between_ms: list[float] = []
        self.floors_ms: list[float] = []

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:  # noqa: ARG002 - the protocol's parameters
        """Return a call, or the end."""
        if self._answered:
            self.between_ms.append((time.perf_counter() - self._answered) * 1000)
        writes = (timed(lambda: durable_write(self._floor), 1) for _ in range(WRITES_A_TURN))
        self.floors_ms.append(sum(writes))
        number = len(self.between_ms)
        line = f"files stat small.txt{number % 7}" if number < TURNS else "finish --status done"
        reply = Reply(text="", calls=(Call(call_id=f"c{number}", proposal=LineProposal(line=line)),))
        self._answered = time.perf_counter()
        return reply

    async def close(self) -> None:
        """Do nothing."""


async def turn_rows(folder: Path, state: Path, progress: Progress) -> list[Row]:
    """Return what a turn with one action takes beside the model, and the durable writes that it needs.

    Raises:
        sandbox.errors.SandboxError: When no engine answers, or it cannot hold a session.
    """
    workspace = folder / "workspace"
    workspace.mkdir()
    for number in range(7):
        (workspace / f"small.txt{number}").write_bytes(b"x")
    descriptor = os.open(folder / "turns", os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    model = _AtOnce(descriptor)
    try:
        result = await run_session(
            SessionRequest(
                task="measure",
                policy=parse_policy(POLICY, origin="bench"),
                policy_origin="bench",
                workspace=open_workspace(workspace, state=state),
                backend=model,
                state=state,
                headless=True,
                task_is_origin=False,
                approver=NobodyApprover(),
                watcher=_Unseen(),
                progress=progress,
                may_repeat=True,
            )
        )
    finally:
        os.close(descriptor)
    if result.error is not None:
        raise result.error
    floor, ours = median(model.floors_ms), median(model.between_ms)
    return [
        Row(name="a turn with one action", unit="ms", ours=ours, floor=floor),
        Row(name="  over its durable writes", unit="ms", ours=max(0.0, ours - floor), floor=None, most=2.0),
    ]


class _Unseen:
    def said(self, turn: int, reply: Reply) -> None:
        """Take no note."""

    def saw(self, observation: Observation) -> None:
        """Take no note."""
