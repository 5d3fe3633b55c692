"""Hold the parent's side of the egress gate: ask its process, answer what it asks, write its events down."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, Self, assert_never

from sandbox.egress.answers import Answers
from sandbox.egress.errors import GateLostError, UpstreamError
from sandbox.egress.fetch import DEFAULT_BODY_BYTES
from sandbox.egress.owner import Owner, no_credentials, nobody
from sandbox.egress.process import EgressProcess
from sandbox.egress.relay import relay
from sandbox.egress.wire import (
    Answered,
    ApprovalWanted,
    Cancelled,
    Elsewhere,
    Failed,
    FetchAsked,
    Happened,
    Ready,
    Refused,
    SecretWanted,
    Start,
    WireError,
    to_parent,
)
from sandbox.egress.written import Written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from sandbox.egress.credentials import Headers
    from sandbox.egress.events import Decided
    from sandbox.egress.fetch import Response
    from sandbox.egress.owner import Approval, CredentialSource
    from sandbox.egress.rules import Crossed, RuleSet
    from sandbox.egress.written import Journal

START_SECONDS: Final = 30.0
MARGIN_SECONDS: Final = 30.0
"""How much longer than a connection may last its answer is waited for; the process ends it before."""


class EgressGate:
    """The way out of one session, made by `EgressGate.start`; without `network` there is none.

    Attributes:
        ca_certificate: The session CA, PEM, which a container with `exec` trusts; empty for none.
    """

    def __init__(
        self,
        process: EgressProcess,
        written: Written,
        *,
        credentials: CredentialSource,
        approval: Approval,
        rules: RuleSet,
    ) -> None:
        self.ca_certificate = ""
        self._process = process
        self._written = written
        self._owner = Owner(
            process,
            written=written,
            credentials=credentials,
            approval=approval,
            names=frozenset(rule.credential for rule in rules.rules if rule.credential),
            failed=self._lose,
        )
        self._longest_seconds = rules.limits.connection_seconds + MARGIN_SECONDS
        self._action = ""
        self._answers = Answers()
        self._lost = ""
        self._ready = asyncio.get_running_loop().create_future()

    @classmethod
    @asynccontextmanager
    async def start(  # noqa: PLR0913 - keyword-only settings with defaults
        cls,
        rules: RuleSet,
        *,
        journal: Journal,
        credentials: CredentialSource = no_credentials,
        approval: Approval = nobody,
        ca_file: Path | None = None,
        proxy: bool = False,
        crossed: tuple[Crossed, ...] = (),
        numbered: int = 0,
    ) -> AsyncIterator[Self]:
        """Start the process, and end it when the block is left.

        Args:
            rules: What the session may reach.
            journal: Writes one event down, and returns when it is durable. When it raises, the gate is dead.
            credentials: Finds a credential by name; asked for each use, and only for names that a rule has.
            approval: Asks a person, where a rule says so; returns why not, empty when it was approved.
            ca_file: Further authorities for servers, PEM, of the operator's; None for none.
            proxy: Whether the container has `exec`, and so a loopback proxy; see `relay`.
            crossed: What counts in the budgets already, because the session goes on.
            numbered: The last number that a connection has already; those here go on from it.

        Raises:
            GateLostError: When the process does not start.
            OSError: When `ca_file` cannot be read.
        """
        authorities = await asyncio.to_thread(ca_file.read_text, "ascii") if ca_file else ""
        process = await EgressProcess.start()
        gate = cls(process, Written(journal), credentials=credentials, approval=approval, rules=rules)
        listener = asyncio.create_task(gate._listen())
        start = Start(rules=rules, authorities=authorities, proxy=proxy, crossed=crossed, numbered=numbered)
        try:
            await gate._begin(start)
            yield gate
        finally:
            await gate._end(listener)

    @property
    def pid(self) -> int:
        """The process id of the egress process."""
        return self._process.pid

    @property
    def is_lost(self) -> bool:
        """Whether the process is gone, so that nothing goes through any more."""
        return bool(self._lost)

    @contextmanager
    def refusals(self) -> Iterator[list[Decided]]:
        """Yield a list to which what is refused inside the block is added, up to a bound."""
        with self._written.refusals() as refused:
            yield refused

    @contextmanager
    def during(self, action: str) -> Iterator[None]:
        """Tell that whatever is asked for or connected inside the block belongs to an action.

        Args:
            action: `<session>/<n>`.
        """
        before, self._action = self._action, action
        try:
            yield
        finally:
            self._action = before

    async def request(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes = b"",
        body_bytes: int = DEFAULT_BODY_BYTES,
        render: bool = False,
        action: str = "",
    ) -> Response:
        """Make one request; redirects are answers like any other.

        Args:
            method: In capital letters.
            url: Absolute, http or https.
            headers: Names and values; those of the connection and of framing are the gate's own.
            body: What is sent; empty for none.
            body_bytes: How much of the answer's body is kept, at most 32 MiB.
            render: Whether the process makes the body readable text: HTML, JSON, other character sets.
            action: The action that it belongs to, for the ledger; empty for the one that acts now.

        Returns:
            The answer, whatever its status.

        Raises:
            EgressDeniedError: When the rules or a budget say no.
            UpstreamError: When the world outside does not answer.
            GateLostError: When the process is gone, or its events could not be written down.
        """
        self._check_alive()
        number, answer = self._answers.wanted()
        asked = FetchAsked(
            id=number,
            method=method,
            url=url,
            headers=headers,
            action=action or self._action,
            body_bytes=body_bytes,
            render=render,
        )
        try:
            async with asyncio.timeout(self._longest_seconds):
                await self._process.tell(asked, body)
                return await answer
        except TimeoutError:
            self._process.send(Cancelled(id=number))
            raise UpstreamError("timeout", f"no answer within {self._longest_seconds:.0f} s") from None
        except asyncio.CancelledError:
            self._process.send(Cancelled(id=number))
            raise
        finally:
            self._answers.forget(number)

    def count_elsewhere(self, crossed: Crossed) -> None:
        """Count what has crossed another gate with which this one has its budgets in common."""
        self._process.send(Elsewhere(crossed=crossed))

    async def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to the proxy: what the container's loopback proxy accepted is copied into it.

        Returns:
            Its two ends; whoever asked closes the writer.

        Raises:
            GateLostError: When the process is gone, or takes no connection.
        """
        self._check_alive()
        return await self._process.connection(self._action)

    async def relay(
        self,
        received: AsyncIterator[bytes],
        send: Callable[[bytes], Awaitable[None]],
        end: Callable[[], None],
    ) -> None:
        """Copy one connection of the container's into the proxy and back, until both ways have ended.

        Args:
            received: What comes from the container; it ends when the container sends no more.
            send: Sends to the container, and waits for room.
            end: Tells the container that nothing more comes.

        Raises:
            GateLostError: When the process is gone.
        """
        reader, writer = await self.connection()
        await relay((reader, writer), received, send, end)

    async def _begin(self, start: Start) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._process.tell(start)
                self.ca_certificate = await self._ready
        except TimeoutError:
            raise GateLostError(f"the egress process did not start within {START_SECONDS:.0f} s") from None

    async def _listen(self) -> None:
        try:
            while (message := await self._process.heard()) is not None:
                self._handle(message[0], message[1])
        except WireError as error:
            self._process.kill()
            self._lose(error.message)
        else:
            self._lose(await self._process.last_words())

    def _handle(self, head: bytes, blob: bytes) -> None:
        match to_parent(head):
            case Ready(ca_certificate=certificate):
                if not self._ready.done():
                    self._ready.set_result(certificate)
            case Happened() as happened:
                self._owner.note(happened, len(head))
            case SecretWanted() as wanted:
                self._owner.give(wanted)
            case ApprovalWanted() as question:
                self._owner.ask(question, len(head))
            case (Answered() | Refused() | Failed()) as answered:
                self._answers.settle(answered, blob)
            case other:
                assert_never(other)

    def _lose(self, why: str) -> None:
        self._lost = self._lost or why
        if not self._ready.done():
            self._ready.set_exception(self._gone())
        self._answers.lose(self._gone)

    def _gone(self) -> GateLostError:
        error = GateLostError(f"the egress process is gone: {self._lost}")
        error.__cause__ = self._written.failure
        return error

    def _check_alive(self) -> None:
        if self._lost:
            raise self._gone()

    async def _end(self, listener: asyncio.Task[None]) -> None:
        """End the process, tell what it left open, and leave nothing running, whichever of these fails."""
        try:
            await self._process.stop(listener)
            self._lost = self._lost or "the session is over"
            await listener
        finally:
            try:
                await self._written.lose()
            finally:
                await self._drop(listener)

    async def _drop(self, listener: asyncio.Task[None]) -> None:
        listener.cancel()
        await asyncio.gather(listener, self._owner.stop(), return_exceptions=True)
        await self._process.close()
