"""Hold the agent loop: ask the model, take each call through the gate, tell it what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from agent_runner.backends.backend import Backend, Reply
    from agent_runner.budget import Budget, BudgetExceeded
    from agent_runner.transcript import Transcript
    from cli_tools.gate import Gate
    from cli_tools.schema import Tool

REPEATS_ALLOWED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopEnd:
    """How a loop ended."""

    status: Literal["done", "failed", "unfinished", "budget", "stuck"]
    reason: str
    turns: int


async def run_loop(
    backend: Backend, gate: Gate, transcript: Transcript, tools: tuple[Tool, ...], budget: Budget
) -> LoopEnd:
    """Run until the model finishes, stops, repeats itself or a budget runs out.

    Raises:
        agent_runner.errors.BackendError: When the model cannot be asked.
        audit.errors.LedgerError: When something could not be written down.
        sandbox.errors.SandboxLostError: When the sandbox is gone.
    """
    repeats = Repeats()
    while True:
        exceeded = budget.exceeded()
        if exceeded is not None:
            return await _out_of_budget(transcript, exceeded)
        reply = await transcript.ask(backend, tools)
        budget.count(reply.usage)
        if not reply.calls:
            return LoopEnd(
                status="unfinished", reason="the model stopped without `finish`", turns=budget.turns
            )
        for call in reply.calls:
            transcript.about(call.call_id)
            seen = await gate.act(call.proposal)
            await transcript.observe(call.call_id, seen)
            if seen.ends_session:
                return LoopEnd(status=seen.ends_session, reason=seen.text, turns=budget.turns)
        if repeats.stuck(reply):
            reason = f"the model made the same calls {REPEATS_ALLOWED} times in a row"
            return LoopEnd(status="stuck", reason=reason, turns=budget.turns)


class Repeats:
    """Notice a model that says the same again and again."""

    def __init__(self) -> None:
        self._last: object = None
        self._times = 0

    def stuck(self, reply: Reply) -> bool:
        """Say whether this reply's calls are the same for the third time in a row."""
        now = tuple(call.proposal for call in reply.calls)
        self._times = self._times + 1 if now == self._last else 1
        self._last = now
        return self._times >= REPEATS_ALLOWED


async def _out_of_budget(transcript: Transcript, exceeded: BudgetExceeded) -> LoopEnd:
    await transcript.limit(exceeded)
    reason = f"the budget of {exceeded.name} ran out: {exceeded.observed} of {exceeded.bound} {exceeded.unit}"
    return LoopEnd(status="budget", reason=reason, turns=transcript.turn)
