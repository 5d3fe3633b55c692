"""Hold the parsing process from outside: start it when a program first connects, ask for it, end it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, assert_never

from agent_runner.gateway.asked import RefusedRequestError
from agent_runner.gateway.crossing import question_of, reply_bytes, told
from agent_runner.gateway.wire import Asking, Begin, GivenUp, Refusal, Replied, to_runner
from sandbox.egress.errors import GateLostError
from sandbox.egress.process import EgressProcess
from sandbox.egress.relay import relay
from sandbox.egress.wire import WireError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from agent_runner.backends.aloud import Step
    from agent_runner.backends.backend import Backend
    from agent_runner.gateway.asked import Asked
    from agent_runner.gateway.book import Book

MODULE: Final = "agent_runner.gateway.parser"
MOST_STARTS: Final = 16
"""How often it is started anew in one session, when it has ended: an agent that ends it gains no more."""
MOST_QUESTIONS: Final = 8
"""Questions that it may have open at once: more than it takes, for those given up are still ending."""


class Parsing:
    """A session's parser, in a process of its own, and what it asks; `sandbox.connection.Relay`.

    Args:
        models: Name -> whom to ask; no other name is asked.
        book: Asks them.
    """

    def __init__(self, models: Mapping[str, Backend], book: Book) -> None:
        self._models = models
        self._book = book
        self._starting = asyncio.Lock()
        self._starts = 0
        self._process: EgressProcess | None = None
        self._listener: asyncio.Task[None] | None = None
        self._questions: dict[int, asyncio.Task[None]] = {}

    @property
    def pid(self) -> int | None:
        """The process's id; None while there is none."""
        return self._process.pid if self._process else None

    async def __call__(
        self,
        received: AsyncIterator[bytes],
        send: Callable[[bytes], Awaitable[None]],
        end: Callable[[], None],
    ) -> None:
        """Copy one connection into the process and back, until both ways have ended.

        Raises:
            GateLostError: When it ended too often, or takes no connection.
        """
        process = await self._running()
        await relay(await process.connection(""), received, send, end)

    async def close(self) -> None:
        """End the process, and what it asked."""
        async with self._starting:
            await self._ended()

    async def _running(self) -> EgressProcess:
        async with self._starting:
            if self._process is not None and self._listener is not None and not self._listener.done():
                return self._process
            await self._ended()
            if self._starts >= MOST_STARTS:
                raise GateLostError(f"the gateway's parser has ended {MOST_STARTS} times")
            self._starts += 1
            process = self._process = await EgressProcess.start(module=MODULE)
            process.send(Begin(models=tuple(self._models)))
            self._listener = asyncio.create_task(self._listen(process))
            self._listener.add_done_callback(_taken)  # its end is seen by whoever connects next
            return process

    async def _ended(self) -> None:
        process, listener = self._process, self._listener
        self._process = self._listener = None
        for task in (*self._questions.values(), *([listener] if listener else [])):
            task.cancel()
        await asyncio.gather(*self._questions.values(), return_exceptions=True)
        if process is not None and listener is not None:
            process.kill()
            await process.stop(_silent(listener))
            await process.close()

    async def _listen(self, process: EgressProcess) -> None:
        """Act on what it says; at the first word that breaks a rule it is ended."""
        try:
            with contextlib.suppress(WireError):
                while (message := await process.heard()) is not None:
                    self._take(process, *message)
        finally:
            process.kill()
            for task in self._questions.values():
                task.cancel()

    def _take(self, process: EgressProcess, head: bytes, blob: bytes) -> None:
        message = to_runner(head)
        match message:
            case Asking(id=number):
                if number in self._questions or len(self._questions) >= MOST_QUESTIONS:
                    raise WireError("it asks more than it may")
                asked = question_of(blob)
                if asked.model not in self._models:
                    raise WireError("it asks a model that is none of the session's")
                asking = self._questions[number] = asyncio.create_task(self._ask(process, number, asked))
                asking.add_done_callback(lambda done: self._asked(number, done))
            case GivenUp(id=number):
                if task := self._questions.get(number):
                    task.cancel()
            case _:
                assert_never(message)

    def _asked(self, number: int, done: asyncio.Task[None]) -> None:
        """Forget a question; what failed was told to the process as far as it could be told."""
        self._questions.pop(number, None)
        _taken(done)

    async def _ask(self, process: EgressProcess, number: int, asked: Asked) -> None:
        async def tell(step: Step) -> None:
            await process.tell(told(number, step))

        try:
            reply = await self._book.ask(self._models[asked.model], asked, tell if asked.stream else None)
        except RefusedRequestError as error:
            refusal = Refusal(id=number, status=error.status, code=error.code, message=error.message)
            await process.tell(refusal)
        except Exception:
            await process.tell(Refusal(id=number, status=500, code="failed", message="the runner failed"))
            raise
        else:
            await process.tell(Replied(id=number), reply_bytes(reply))


def _taken(done: asyncio.Task[None]) -> None:
    """Take the exception of a task that nobody waits for, so that none is printed."""
    if not done.cancelled():
        done.exception()


async def _silent(listener: asyncio.Task[None]) -> None:
    await asyncio.wait({listener})
