"""Say in the ledger what came of a question: a reply, models that were asked in vain, or a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent_runner.errors import BackendError
from agent_runner.reply_bodies import kept_beside
from agent_runner.spelling import raw, tool_call
from agent_runner.transcript_redacted import as_meant
from audit import event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent_runner.backends.backend import Backend, Call, Message, Reply, Tried
    from audit.fields import Commitment
    from audit.journal import Journal
    from cli_tools.schema import Tool


class Heard(NamedTuple):
    """What a model answered; its entry is durable with the next one that is."""

    reply: Reply
    """Redacted once, for ledger and model."""
    calls: tuple[Call, ...]
    """Its calls as they were meant."""
    seconds: float
    """How long it took."""


async def heard_from(  # noqa: PLR0913 - who is asked what, and by which clock
    backend: Backend,
    messages: tuple[Message, ...],
    tools: tuple[Tool, ...],
    journal: Journal,
    *,
    turn: int,
    monotonic: Callable[[], float],
) -> Heard:
    """Ask a question that is written down already, and write down what came of it.

    Args:
        backend: Who is asked.
        messages: The conversation.
        tools: What the model is offered.
        journal: The session's ledger.
        turn: Which question it is.
        monotonic: A clock in seconds.

    Raises:
        BackendError: When nobody answers.
        audit.errors.LedgerError: When it cannot be written down.
    """
    start = monotonic()
    try:
        heard = await backend.ask(messages, tools)
    except BackendError as error:
        await write_failed(journal, turn, backend, error, monotonic() - start)
        raise
    elapsed = monotonic() - start
    await write_tried(journal, turn, backend, heard.tried)
    reply, calls = as_meant(heard, journal.redactor)
    journal.record_ahead(answered(journal, turn, backend, reply, elapsed))
    return Heard(reply, calls, elapsed)


def answered(
    journal: Journal, turn: int, backend: Backend, reply: Reply, elapsed: float
) -> event.ModelAnswered:
    """Return a reply's entry; what it commits to becomes durable with it.

    Args:
        journal: The session's ledger.
        turn: Which question it answers.
        backend: Who was asked.
        reply: What it said, redacted.
        elapsed: How long that took, in seconds.
    """
    first = reply.first_token_seconds
    return event.ModelAnswered(
        turn=turn,
        backend=backend.kind,
        model=reply.by or backend.model,
        text=journal.commit(raw(reply.text)) if reply.text else None,
        tool_calls=tuple(tool_call(call.call_id, call.proposal) for call in reply.calls),
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        cached_tokens=reply.usage.cached_tokens,
        duration_ms=int(elapsed * 1000),
        first_token_ms=first if first is None else int(first * 1000),
        stop=reply.stop,
        cost_micros=reply.usage.cost_micros,
        raw=_beside(journal, reply),
    )


def _beside(journal: Journal, reply: Reply) -> Commitment | None:
    """Commit to what came beside a reply's words."""
    kept = kept_beside(reply, journal.redactor)
    return journal.commit(kept) if kept else None


async def write_failed(
    journal: Journal, turn: int, backend: Backend, error: BackendError, elapsed: float
) -> None:
    """Write down that nobody answered, and who was asked before."""
    await write_tried(journal, turn, backend, error.tried)
    await journal.record(
        event.ModelFailed(
            turn=turn,
            backend=backend.kind,
            model=backend.model,
            error=error.message,
            attempt=len(error.tried) + 1,
            duration_ms=int(elapsed * 1000),
            will_retry=False,
        )
    )


async def write_tried(journal: Journal, turn: int, backend: Backend, tried: Iterable[Tried]) -> None:
    """Write down which models were asked in vain before another one."""
    for attempt, each in enumerate(tried, start=1):
        await journal.record(
            event.ModelFailed(
                turn=turn,
                backend=backend.kind,
                model=each.model,
                error=each.error,
                attempt=attempt,
                duration_ms=0,
                will_retry=True,
            )
        )
