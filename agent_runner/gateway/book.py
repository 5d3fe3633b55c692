"""Ask the model for somebody else's agent: within the budget, one question at a time, each in the ledger."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent_runner.backends.aloud import asked_aloud
from agent_runner.backends.backend import (
    Message,
    PricedBackend,
    Reply,
    Usage,
)
from agent_runner.backends.choice import choosing
from agent_runner.backends.estimate import estimated, tokens
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.reply_format import (
    MOST_CHARACTERS,
    described_to_model,
    formatting,
    is_too_large,
)
from agent_runner.errors import BackendError
from agent_runner.gateway.asked import RefusedRequestError, stopped_by, too_large
from agent_runner.gateway.pages import Pages
from agent_runner.gateway.redacted import Redacted
from agent_runner.gateway.telling import Telling
from agent_runner.hearing import bounded
from agent_runner.transcript_model import write_tried

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_runner.backends.aloud import Step
    from agent_runner.backends.backend import Backend
    from agent_runner.backends.choice import Choice
    from agent_runner.backends.reply_format import ReplyFormat
    from agent_runner.budget import Budget
    from agent_runner.budget_state import BudgetExceeded
    from agent_runner.gateway.asked import Asked
    from agent_runner.gateway.telling import Pass
    from audit.journal import Journal
    from cli_tools.schema import Tool

_NO_REPLY: Final = "the model gave no reply; the session's ledger says why"


class Book:
    """Put an agent's questions to a model, and write each down before and after.

    Every message is written down once, however often an agent sends it again; a question names all of its
    messages by their digests. What is redacted in the ledger is what the model sees.

    Args:
        journal: The session's ledger.
        budget: The session's budget.
        spent: Told when it has run out; the session then ends.
        monotonic: A clock in seconds.
    """

    def __init__(
        self,
        journal: Journal,
        budget: Budget,
        *,
        spent: Callable[[BudgetExceeded], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._budget = budget
        self._spent = spent
        self._monotonic = monotonic
        # INVARIANT: one question at a time, so that a budget is passed by the cost of one at most.
        self._turn = asyncio.Lock()
        self._pages = Pages(journal, lambda: budget.turns)
        self.model_seconds = 0.0

    @property
    def kept_bytes(self) -> int:
        """Return what was written into the ledger's openings: every byte of it is of the agent's making."""
        return self._pages.kept_bytes

    async def ask(self, backend: Backend, asked: Asked, tell: Pass | None = None) -> Reply:
        """Return the model's reply.

        Args:
            backend: Whom to ask.
            asked: What.
            tell: Told each step of the reply, where the backend tells them as they come, else at its end;
                None where nobody listens.

        Raises:
            RefusedRequestError: When the budget has run out, code `budget`, the format is too large, or the
                model gave no reply.
            audit.errors.LedgerError: When it cannot be written down; nothing was asked then.
        """
        async with self._turn:
            self._require_budget()
            _require_small(asked.form)
            redacted = Redacted(self._journal.redactor)
            messages = tuple(map(redacted.message, asked.messages))
            tools = tuple(map(redacted.tool, asked.tools))
            form = redacted.form(asked.form)
            choice = redacted.choice(asked.choice)
            asking = _wishing(backend, choice, form)
            await self._pages.asked(backend, messages, tools, choice, form)
            telling = Telling(tell or _silent, asked.stops)
            listener = telling.heard if tell is not None else telling.count
            start = self._monotonic()
            try:
                reply = bounded(await asked_aloud(asking, messages, tools, listener))
            except BackendError as error:
                self._count_unanswered(backend, messages, described_to_model(tools, form), telling)
                await self._pages.broken_off(telling.words)
                await self._pages.failed(backend, error, self._monotonic() - start)
                raise _unanswered(error) from error
            except asyncio.CancelledError:
                self._count_unanswered(backend, messages, described_to_model(tools, form), telling)
                await self._pages.broken_off(telling.words)
                await self._pages.hung_up(backend, self._monotonic() - start)
                raise
            elapsed = self._monotonic() - start
            self.model_seconds += elapsed
            self._budget.count(reply.usage)
            await write_tried(self._journal, self._budget.turns, backend, reply.tried)
            await self._pages.answered(backend, reply, elapsed)
            await self._tell_rest(telling, reply)
            return _stopped(reply, asked.stops)

    async def _tell_rest(self, telling: Telling, reply: Reply) -> None:
        try:
            await telling.rest(reply)
        except BackendError as error:
            raise RefusedRequestError(error.message, status=502, code="model_failed") from error

    def _require_budget(self) -> None:
        exceeded = self._budget.exceeded()
        if exceeded is not None:
            self._spent(exceeded)
            raise RefusedRequestError(exceeded.reason, status=403, code="budget")

    def _count_unanswered(
        self, backend: Backend, messages: Sequence[Message], tools: Sequence[Tool], telling: Telling
    ) -> None:
        """Count a question without a whole answer: failing and hanging up are no ways around a budget.

        What the model thought, and what stood behind a stop, was told to nobody and costs as much.
        """
        said = tokens(max(len(telling.words), telling.count.characters))
        usage = Usage(input_tokens=estimated(messages, tools), output_tokens=said, estimated=True)
        self._budget.count(backend.priced(usage) if isinstance(backend, PricedBackend) else usage)


def _require_small(form: ReplyFormat | None) -> None:
    """Refuse a format that is too large, before its secrets are taken out.

    INVARIANT: nothing that is redacted is measured before a question is written down: an agent would learn,
    unseen by the ledger, whether what it guessed is the secret.
    """
    if is_too_large(form):
        raise too_large(f"a format's schema and description have more than {MOST_CHARACTERS} characters")


def _wishing(backend: Backend, choice: Choice | None, form: ReplyFormat | None) -> Backend:
    """Return whom to ask so that a tool is called, and the reply has a format, where the agent wants that."""
    try:
        return formatting(choosing(backend, choice), form)
    except ModelServerError as error:
        raise RefusedRequestError(error.message, code="unsupported") from error


def _unanswered(error: BackendError) -> RefusedRequestError:
    """Return what the agent is told; agents shorten a conversation when they hear that it is too long.

    Only a server's words go there: what a program on the host says may name its files and its settings.
    """
    if not isinstance(error, ModelServerError) or error.failure.kind == "credential":
        return RefusedRequestError(_NO_REPLY, status=502, code="model_failed")
    if error.failure.too_long:
        return RefusedRequestError(error.message, status=400, code="context_length_exceeded")
    return RefusedRequestError(error.message, status=502, code="model_failed")


def _stopped(reply: Reply, stops: tuple[str, ...]) -> Reply:
    """Return a reply that the agent's own stop ends as one that no length did; a call may still be cut."""
    return reply if stopped_by(reply, stops) is None else replace(reply, stop="")


async def _silent(_: Step) -> None:
    pass
