"""Measure what the runner adds to a model's own time: a session of a model that answers at once."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, asynccontextmanager
from statistics import median
from typing import TYPE_CHECKING, Final

from agent_runner.approvals import NobodyApprover
from agent_runner.backends.backend import Call, Reply
from agent_runner.bench.row import Row, timed
from agent_runner.bench.writes import LedgerWrites, floor_files, make_durable
from agent_runner.housing import ContainerHousing
from agent_runner.request import SessionRequest
from agent_runner.session import run_session
from cli_tools.action import LineProposal
from policies.source import parse_policy
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Message
    from agent_runner.housing import Housed, Order
    from cli_tools.observation import Observation
    from cli_tools.schema import Tool
    from sandbox.runtime.engine import Progress
    from sandbox.session import Sandbox

NOTED_TURNS: Final = 24
"""Turns in which the durable writes of a turn are noted, not timed."""
TURNS: Final = 120
FINISH: Final = "finish --status done"
POLICY: Final = (
    "version: 1\nname: bench\ngrant: [files]\ncommands: {allow: [files *]}\nbudget: {turns: 1000}\n"
)


class _AtOnce:
    """A model that answers at once, and notes how long it was not asked; `backend.Backend`.

    First it has the ledger's durable writes noted, turn by turn; then it has them timed, and makes the same
    again for the floor.
    """

    kind = "bench"
    model = "bench"

    def __init__(self, folder: Path, state: Path, housing: _Containers) -> None:
        self._folder = folder
        self._housing = housing
        self._ledger = LedgerWrites(state)
        self._until_end = ExitStack()
        self._until_end.enter_context(self._ledger.noted())
        self._floor: list[tuple[int, bytes]] = []
        self._answered = 0.0
        self._spent = 0.0
        self._busy = 0.0
        self._turn = 0
        self.between_ms: list[float] = []
        self.writes_ms: list[float] = []
        """What the ledger's own writes took, where they were made."""
        self.floors_ms: list[float] = []
        self.inside_ms: list[float] = []
        """What the action took, from its way into the container to its answer."""
        self.spent_ms: list[float] = []
        """Processor time of the runner's loop."""

    @property
    def writes(self) -> int:
        """Return how many durable writes a turn makes."""
        return len(self._floor)

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:  # noqa: ARG002 - the protocol's parameters
        """Return a call, or the end."""
        elapsed_ms = (time.perf_counter() - self._answered) * 1000
        spent_ms = (time.thread_time() - self._spent) * 1000
        self._turn += 1
        if self._turn <= NOTED_TURNS:
            self._ledger.end_turn()
        elif self._turn == NOTED_TURNS + 1:
            await self.close()
            self._floor = self._until_end.enter_context(floor_files(self._folder, self._ledger.of_a_turn()))
            self._until_end.enter_context(self._ledger.timed())
        else:
            self.between_ms.append(elapsed_ms)
            self.spent_ms.append(spent_ms)
            self.writes_ms.append(self._ledger.taken_ms())
            self.inside_ms.append((self._housing.busy_seconds - self._busy) * 1000)
            self.floors_ms.append(timed(lambda: make_durable(self._floor), 1))
        line = f"files stat small.txt{self._turn % 7}" if len(self.between_ms) < TURNS else FINISH
        reply = Reply(text="", calls=(Call(call_id=f"c{self._turn}", proposal=LineProposal(line=line)),))
        await asyncio.sleep(0)  # whoever asks a server leaves the loop its turn meanwhile
        self._ledger.forget()  # the floor's are no turn's
        self._busy = self._housing.busy_seconds
        self._spent, self._answered = time.thread_time(), time.perf_counter()
        return reply

    async def close(self) -> None:
        """Note no more, and close the floor's files."""
        self._until_end.close()


async def turn_rows(folder: Path, state: Path, progress: Progress) -> list[Row]:
    """Return what a turn with one action takes beside the model, and the durable writes that it needs.

    Raises:
        sandbox.errors.SandboxError: When no engine answers, or it cannot hold a session.
    """
    workspace = folder / "workspace"
    workspace.mkdir()
    for number in range(7):
        (workspace / f"small.txt{number}").write_bytes(b"x")
    housing = _Containers()
    model = _AtOnce(folder, state, housing)
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
                housing=housing,
                may_repeat=True,
            )
        )
    finally:
        await model.close()
    if result.error is not None:
        raise result.error
    floor, writes = median(model.floors_ms), median(model.writes_ms)
    over = [turn - taken for turn, taken in zip(model.between_ms, model.writes_ms, strict=True)]
    return [
        Row(name="a turn with one action", unit="ms", ours=median(model.between_ms), floor=floor),
        Row(name=f"  its {model.writes} durable writes", unit="ms", ours=writes, floor=floor),
        # Of each turn its own: a disk that others use takes longer now and then, which is no runner's time.
        Row(name="  over these", unit="ms", ours=median(over), floor=None, most=2.0),
        Row(name="  of it the action inside", unit="ms", ours=median(model.inside_ms), floor=None),
        Row(name="  processor time", unit="ms", ours=median(model.spent_ms), floor=None),
    ]


class _Containers(ContainerHousing):
    """Containers, and how long the last one was busy."""

    def __init__(self) -> None:
        self._sandbox: Sandbox | None = None

    @property
    def busy_seconds(self) -> float:
        """Return the time in which an operation was under way; 0 while there is no container."""
        return 0.0 if self._sandbox is None else self._sandbox.busy_seconds

    @asynccontextmanager
    async def house(self, order: Order) -> AsyncIterator[Housed]:
        """Give a container."""
        async with super().house(order) as housed:
            self._sandbox = housed.sandbox
            yield housed


class _Unseen:
    def said(self, turn: int, reply: Reply) -> None:
        """Take no note."""

    def saw(self, observation: Observation) -> None:
        """Take no note."""
