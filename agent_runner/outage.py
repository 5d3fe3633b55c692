"""Wait for a model's server that is down, in a session that it has answered: hours of work outlive an hour.

One that never answered is more often misspelt than down, and ends the session at once. So does one that read
the question and failed: no waiting mends that, and every try may be paid for. How often one question is tried
before that is the backend's own (`agent_runner.backends.retry`); here is what comes after.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.backends.backend import ModelMessage
from agent_runner.backends.failure import ModelServerError, one_line
from agent_runner.cancelling import is_cancelled
from agent_runner.errors import BackendError
from agent_runner.transcript_model import write_tried
from audit import event
from audit.escape import escape_line
from sandbox.errors import SandboxLostError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from agent_runner.backends.backend import Backend, Message, Reply
    from agent_runner.backends.failure import Failure
    from agent_runner.past import Past
    from agent_runner.request import SessionRequest
    from agent_runner.transcript import Transcript
    from audit.journal import Journal
    from cli_tools.schema import Tool

GIVEN_UP_SECONDS: Final = 2 * 3600.0
"""How long a server may be down: twice the hour that is promised. The session's wall time goes on then."""
FIRST_WAIT_SECONDS: Final = 10.0
LONGEST_WAIT_SECONDS: Final = 60.0
"""Between two questions, where the server does not ask for more; the sandbox is looked at as often."""
LOOK_SECONDS: Final = 1.0
"""How often the sandbox is looked at while a question is out."""
_DOWN_STATUSES: Final = frozenset({0, 429, 502, 503, 504, 529})
"""What is answered before a question is read, by a server or by what stands before it; 0 for no status."""
_SHOWN_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """How long a server that is down is waited for, and by which clock."""

    given_up_seconds: float = GIVEN_UP_SECONDS
    """Since the question was first asked; 0 waits for none."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    monotonic: Callable[[], float] = time.monotonic


class EnduringBackend:
    """Ask a model, and ask again while its server is down; `backends.backend.Backend`.

    Every try in vain is an entry of the ledger before it is waited, so that others see what the session waits
    for; whatever ends the session (its wall time, a person) ends the waiting.

    Args:
        backend: Whom to ask.
        outage: How long.
        journal: The session's ledger.
        turn: Says which turn it is.
        answered: Whether the model has answered in this session already, or in the one that delegated to it.
        tell: Told in one line what is waited for.
        require: Raises when there is nothing to wait for any more, because the sandbox is gone.
    """

    def __init__(  # noqa: PLR0913 - the rooms that meet in one question
        self,
        backend: Backend,
        outage: Outage,
        journal: Journal,
        *,
        turn: Callable[[], int],
        answered: bool,
        tell: Callable[[str], None],
        require: Callable[[], None],
    ) -> None:
        self._backend = backend
        self._outage = outage
        self._journal = journal
        self._turn = turn
        self._answered = answered
        self._tell = tell
        self._require = require
        self._look = _Look(require)
        self._down_since: float | None = None

    @property
    def kind(self) -> str:
        """Return the kind of the backend that is asked."""
        return self._backend.kind

    @property
    def model(self) -> str:
        """Return the model's name, as the ledger keeps it."""
        return self._backend.model

    @property
    def down_seconds(self) -> float:
        """Return for how long the question that is out has been asked in vain; 0 when the server is there."""
        return 0.0 if self._down_since is None else self._outage.monotonic() - self._down_since

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """Return the model's next words.

        Raises:
            agent_runner.errors.BackendError: When there are none, nor will be, or none came in time.
            sandbox.errors.SandboxLostError: When the sandbox is gone meanwhile.
        """
        began, attempt = self._outage.monotonic(), 0
        while True:
            asked = self._outage.monotonic()
            try:
                reply = await self._asked(messages, tools)
            except ModelServerError as error:
                attempt += 1
                now = self._outage.monotonic()
                wait = self._wait_seconds(error.failure, attempt, down_seconds=now - began)
                if wait is None:
                    raise
                self._down_since = began
                await self._in_vain(error, attempt, now - asked)
                self._tell(_told(error, down_seconds=now - began, wait_seconds=wait))
                await self._pause(wait)
            else:
                self._answered, self._down_since = True, None
                return reply

    async def close(self) -> None:
        """Give back connections."""
        await self._backend.close()

    async def _asked(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """Ask once; a server that hangs keeps nobody from seeing that the sandbox is gone.

        INVARIANT: a question that is given up stays so, whatever the backend makes of that: an error of its
        connection's, or a reply.
        """
        try:
            async with self._look.question():
                reply = await self._backend.ask(messages, tools)
        except Exception as error:
            self._require_wanted(error)
            if isinstance(error, OSError):
                what = one_line(": ".join(filter(None, (type(error).__name__, str(error)))))
                raise BackendError(f"the backend `{self.kind}` failed: {what}") from error
            raise
        finally:
            self._look.end()
        self._require_wanted(None)
        return reply

    def _require_wanted(self, came: Exception | None) -> None:
        if self._look.found is not None:
            raise self._look.found from came
        if is_cancelled():
            raise asyncio.CancelledError from came

    def _wait_seconds(self, failure: Failure, attempt: int, *, down_seconds: float) -> float | None:
        """Return how long to wait until the next try, None to give up."""
        left = self._outage.given_up_seconds - down_seconds
        wanted = failure.retry_after_seconds or 0.0
        if not self._answered or not _is_down(failure) or left <= 0 or wanted > left:
            return None
        return max(wanted, min(left, LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (attempt - 1)))

    async def _pause(self, seconds: float) -> None:
        while seconds > 0:
            await self._outage.sleep(min(seconds, LONGEST_WAIT_SECONDS))
            self._require()
            seconds -= LONGEST_WAIT_SECONDS

    async def _in_vain(self, error: ModelServerError, attempt: int, seconds: float) -> None:
        await write_tried(self._journal, self._turn(), self._backend, error.tried)
        await self._journal.record(
            event.ModelFailed(
                turn=self._turn(),
                backend=self._backend.kind,
                model=self._backend.model,
                error=error.message,
                attempt=attempt,
                duration_ms=int(seconds * 1000),
                will_retry=True,
            )
        )


class _Look:
    """Look now and then whether a question that is out is still worth its answer.

    No task waits for that, and one timer serves many questions: most are answered before it rings.

    Args:
        require: Raises when it is not.
    """

    def __init__(self, require: Callable[[], None]) -> None:
        self._require = require
        self._question: asyncio.Timeout | None = None
        self._rings = False
        self.found: SandboxLostError | None = None
        """Why the question was given up."""

    def question(self) -> asyncio.Timeout:
        """Return what a question is asked within."""
        self._question = asyncio.timeout(None)
        if not self._rings:
            self._ring_later()
        return self._question

    def end(self) -> None:
        """Take note that no question is out."""
        self._question = None

    def _ring_later(self) -> None:
        self._rings = True
        asyncio.get_running_loop().call_later(LOOK_SECONDS, self._ring)

    def _ring(self) -> None:
        self._rings = False
        if self._question is None:
            return
        try:
            self._require()
        except SandboxLostError as error:
            self.found = error
            self._question.reschedule(asyncio.get_running_loop().time())
        else:
            self._ring_later()


def _is_down(failure: Failure) -> bool:
    """Say whether a server is not there, or takes no question now: then waiting helps, and costs nothing."""
    match failure.kind:
        case "unreachable":
            return not failure.told
        case "overloaded":
            return not failure.told and failure.status in _DOWN_STATUSES
        case _:
            return False


def enduring(
    request: SessionRequest,
    journal: Journal,
    transcript: Transcript,
    past: Past | None,
    *,
    require: Callable[[], None],
) -> EnduringBackend:
    """Return the backend that a session asks.

    Args:
        request: What the session was started with.
        journal: Its ledger.
        transcript: Its conversation.
        past: What it has come to, in one that goes on.
        require: As for the backend.
    """
    return EnduringBackend(
        request.backend,
        request.outage,
        journal,
        turn=lambda: transcript.turn,
        answered=request.descent is not None or (past is not None and _has_answered(past)),
        tell=lambda words: request.progress(words, done=0, total=0),
        require=require,
    )


def _has_answered(past: Past) -> bool:
    """Say whether the model that is asked now has answered before; of another name, it may be misspelt."""
    return past.same_model and any(isinstance(message, ModelMessage) for message in past.messages)


def _told(error: ModelServerError, *, down_seconds: float, wait_seconds: float) -> str:
    why = escape_line(error.message, width=_SHOWN_CHARACTERS)
    return f"the model's server is down for {down_seconds:.0f} s: {why}; asking again in {wait_seconds:.0f} s"
