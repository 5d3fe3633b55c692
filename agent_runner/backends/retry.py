"""Try again where trying again may help: bounded, with jitter, and as the server asks."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from agent_runner.backends.failure import ModelServerError
from agent_runner.cancelling import is_cancelled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 30.0
LONGEST_ASKED_SECONDS: Final = 120.0


def _unit() -> float:
    return random.random()  # noqa: S311 - spreads retries, guards nothing


def _silent(_message: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often to try, and with what clock and chance."""

    attempts: int = 5
    """Tries in all; 1 tries once."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = _unit
    """Gives numbers from 0 to 1."""
    notice: Callable[[str], None] = _silent
    """Told, in one line, why and how long there is a wait."""

    def wait_seconds(self, attempt: int, error: ModelServerError) -> float | None:
        """Return how long to wait after an attempt, counted from 1; None to give up.

        The wait doubles, and is spread over its second half, so that many sessions do not come back at
        once. A server that asks for a time gets at least that, unless it asks for more than two minutes.
        """
        if attempt >= self.attempts or not error.failure.worth_another_try:
            return None
        ceiling = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (attempt - 1))
        wait = ceiling * (0.5 + self.chance() / 2)
        asked = error.failure.retry_after_seconds
        if asked is None:
            return wait
        return None if asked > LONGEST_ASKED_SECONDS else asked + wait


async def with_retries(work: Callable[[], Awaitable[T]], patience: Patience) -> T:
    """Return what the work returns, tried as often as patience has it; once cancelled, never again.

    Raises:
        ModelServerError: The last attempt's, when no attempt succeeded.
    """
    attempt = 1
    while True:
        try:
            return await work()
        except ModelServerError as error:
            if is_cancelled():
                raise asyncio.CancelledError from error
            wait = patience.wait_seconds(attempt, error)
            if wait is None:
                raise _final(error, attempt) from error
            patience.notice(
                f"{error.message}; trying again in {wait:.1f} s ({attempt} of {patience.attempts})"
            )
        await patience.sleep(wait)
        attempt += 1


def _final(error: ModelServerError, attempt: int) -> ModelServerError:
    asked = error.failure.retry_after_seconds
    notes = [f"tried {attempt} times"] if attempt > 1 else []
    if asked is not None and asked > LONGEST_ASKED_SECONDS:
        notes.append(f"the server asks to wait {asked:.0f} s")
    message = f"{error.message} ({', '.join(notes)})" if notes else error.message
    return ModelServerError(message, failure=error.failure, hint=error.hint)
