"""Say whom a session asks and what with; ask the first question while its sandbox is made."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from agent_runner.commands import known_commands
from agent_runner.outage import EnduringBackend, enduring
from agent_runner.prompt import system_prompt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from agent_runner.budget import Budget
    from agent_runner.delegation import Delegating
    from agent_runner.gating import Gating
    from agent_runner.past import Past
    from agent_runner.request import SessionRequest, SessionResult
    from agent_runner.transcript import Transcript
    from audit.journal import Journal
    from cli_tools.action import Catalogue
    from cli_tools.schema import Tool


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Whom a session asks, and what with."""

    request: SessionRequest
    """What it was started with."""
    journal: Journal
    transcript: Transcript
    budget: Budget
    gating: Gating
    past: Past | None
    """What it has come to, in one that goes on."""
    start: Callable[[SessionRequest], Awaitable[SessionResult]]
    """Runs a session below it to its end."""
    require: Callable[[], None]
    """Raises when its sandbox is gone, while a question is out."""

    @cached_property
    def catalogue(self) -> Catalogue:
        """Return the commands that exist.

        Raises:
            agent_runner.errors.InvalidInputError: When the operator's own cannot be read.
        """
        return self.request.catalogue or known_commands()

    @cached_property
    def delegation(self) -> Delegating | None:
        """Return what starts sessions below; None where none may be."""
        return self.gating.delegation(self.start)

    @cached_property
    def tools(self) -> tuple[Tool, ...]:
        """Return the commands that the model is offered."""
        return self.gating.tools(self.catalogue, delegation=self.delegation)

    @cached_property
    def backend(self) -> EnduringBackend:
        """Return who is asked."""
        return enduring(self.request, self.journal, self.transcript, self.past, require=self.require)

    async def begin(self) -> None:
        """Write down what the model is told first, as far as it was not."""
        await self.transcript.begin(system_prompt(self.request.policy.grant), self.request.task)

    @asynccontextmanager
    async def ahead(self) -> AsyncIterator[None]:
        """Ask the first question now, unless a budget has nothing left for it.

        The loop has its answer, once there is a sandbox to act in. Where the loop never comes for it, the
        question is taken back; an answer that was there already is counted: it was said, and is paid for.

        Raises:
            audit.errors.LedgerError: When the question cannot be written down.
        """
        await self.begin()
        measures = self.budget.measures()
        if self.budget.exceeded(measures) is None:
            await self.transcript.notes(self.budget.warnings(measures))
            await self.transcript.ask_ahead(self.backend, self.tools)
        try:
            yield
        finally:
            if (reply := await self.transcript.give_up()) is not None:
                self.budget.count(reply.usage)
