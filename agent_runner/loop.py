"""Hold the agent loop: ask the model, take each call through the gate, tell it what came of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from agent_runner.backends.backend import Backend
    from agent_runner.budget import Budget
    from agent_runner.budget_state import BudgetExceeded
    from agent_runner.transcript import Transcript
    from cli_tools.gate import Gate
    from cli_tools.schema import Tool

REPEATS_ALLOWED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopEnd:
    """How a loop ended."""

    status: Literal["done", "failed", "unfinished", "budget", "stuck"]
    reason: str
    turns: int


async def run_loop(  # noqa: PLR0913 - the rooms that it goes through
    backend: Backend,
    gate: Gate,
    transcript: Transcript,
    tools: tuple[Tool, ...],
    budget: Budget,
    *,
    may_repeat: bool = False,
) -> LoopEnd:
    """Run until the model finishes, stops, repeats itself or a budget runs out.

    The wall clock ends whatever is under way; its outcome is then unknown, and said to be. With `may_repeat`
    a program asks, which may make the same calls as often as it likes.

    Raises:
        agent_runner.errors.BackendError: When the model cannot be asked.
        audit.errors.LedgerError: When something could not be written down.
        sandbox.errors.SandboxLostError: When the sandbox is gone.
    """
    try:
        async with asyncio.timeout(budget.seconds_left) as clock:
            end = await _turns(backend, gate, transcript, tools, budget, may_repeat=may_repeat)
    except TimeoutError:
        if not clock.expired():
            raise
        end = budget.out_of_time()
    if isinstance(end, LoopEnd):
        await transcript.settled()
        return end
    await transcript.limit(end)  # outside of the clock's block: it would be cut off, and written again
    return LoopEnd(status="budget", reason=end.reason, turns=budget.turns)


async def _turns(  # noqa: PLR0913 - as above
    backend: Backend,
    gate: Gate,
    transcript: Transcript,
    tools: tuple[Tool, ...],
    budget: Budget,
    *,
    may_repeat: bool,
) -> LoopEnd | BudgetExceeded:
    while True:
        while (call := transcript.next_call()) is not None:
            if (exceeded := budget.out_of_actions()) is not None:
                return exceeded
            budget.count_action()
            seen = await gate.act_in_turn(call.proposal, intended=transcript.show)
            transcript.observe(call, seen)
            if seen.ends_session:
                reason = _behind(transcript.calls_left) + seen.text
                return LoopEnd(status=seen.ends_session, reason=reason, turns=budget.turns)
        if not may_repeat and transcript.repeats() >= REPEATS_ALLOWED:
            reason = f"the model made the same calls {REPEATS_ALLOWED} times in a row"
            return LoopEnd(status="stuck", reason=reason, turns=budget.turns)
        measures = budget.measures()
        if (exceeded := budget.exceeded(measures)) is not None:
            return exceeded
        await transcript.shorten()
        await transcript.notes(budget.warnings(measures))
        reply = await transcript.ask(backend, tools)
        budget.count(reply.usage)
        if not reply.calls:
            reason = "the model stopped without `finish`"
            return LoopEnd(status="unfinished", reason=reason, turns=budget.turns)


def _behind(calls: int) -> str:
    """Return what is said of calls that stood behind the one that ended the session."""
    return f"[{calls} more of the same reply, behind `finish`, not carried out] " if calls else ""
