"""Do for the egress process what only its owner can: write down, hand out a credential, ask a person."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from sandbox.egress.wire import ApprovalGiven, Noted, SecretGiven, WireError
from sandbox.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from sandbox.egress.credentials import Credential
    from sandbox.egress.events import Decided
    from sandbox.egress.process import EgressProcess
    from sandbox.egress.wire import ApprovalWanted, Happened, SecretWanted
    from sandbox.egress.written import Written

    CredentialSource = Callable[[str], Awaitable[Credential | None]]
    Approval = Callable[[Decided, str], Awaitable[str]]


MOST_OPEN: Final = 8192
"""What a process may have asked at once: twice the descriptors that it may have."""
MOST_OPEN_BYTES: Final = 64 * MIB
"""The heads of all that: as of a thousand requests whose own heads are as long as one may be."""


async def no_credentials(name: str) -> Credential | None:  # noqa: ARG001 - it has none of any name
    """Know no credential."""
    return None


async def nobody(event: Decided, query: str) -> str:  # noqa: ARG001 - an approval's parameters
    """Approve nothing: there is nobody to ask."""
    return "nobody can be asked"


class Owner:
    """What the process may ask of its owner; more than its bounds at once is a `WireError`.

    Args:
        process: It.
        written: Where its events go.
        credentials: Finds a credential by name.
        approval: Asks a person; returns why not, empty when it was approved.
        names: The credentials that a rule has; no other is handed out.
        failed: Told when an event could not be written down, before the process is killed.
    """

    def __init__(  # noqa: PLR0913 - keyword-only parts, made in one place
        self,
        process: EgressProcess,
        *,
        written: Written,
        credentials: CredentialSource,
        approval: Approval,
        names: frozenset[str],
        failed: Callable[[str], None],
    ) -> None:
        self._process = process
        self._written = written
        self._credentials = credentials
        self._approval = approval
        self._names = names
        self._failed = failed
        self._tasks: set[asyncio.Task[None]] = set()
        self._open_bytes = 0

    def note(self, happened: Happened, head_bytes: int) -> None:
        """Write an event down, and let the process go on."""
        self._in_background(self._note(happened), head_bytes)

    def give(self, wanted: SecretWanted) -> None:
        """Hand out a credential, if a rule names it; another name is not kept."""
        name = wanted.name if wanted.name in self._names else None
        self._in_background(self._give(wanted.id, name), 0)

    def ask(self, question: ApprovalWanted, head_bytes: int) -> None:
        """Ask a person."""
        self._in_background(self._ask(question), head_bytes)

    async def stop(self) -> None:
        """Leave nothing running."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _note(self, happened: Happened) -> None:
        """INVARIANT: a gate whose ledger failed is dead."""
        durable = False
        try:
            durable = await self._written.write(happened.event)
        finally:
            if not durable:
                self._failed("the ledger cannot be written")
                self._process.kill()
        if durable:
            await self._process.tell(Noted(id=happened.id, durable=True))

    async def _give(self, number: int, name: str | None) -> None:
        credential = None
        if name is not None:
            with contextlib.suppress(Exception):
                credential = await self._credentials(name)
        await self._process.tell(SecretGiven(id=number, credential=credential))

    async def _ask(self, question: ApprovalWanted) -> None:
        """Whatever goes wrong meanwhile is a no."""
        why = "the question could not be put"
        with contextlib.suppress(Exception):
            why = await self._approval(question.event, question.query)
        await self._process.tell(ApprovalGiven(id=question.id, why_not=why))

    def _in_background(self, work: Coroutine[None, None, None], head_bytes: int) -> None:
        is_too_much = self._open_bytes + head_bytes > MOST_OPEN_BYTES
        if (
            len(self._tasks) >= MOST_OPEN or is_too_much
        ):  # it asks without reading answers, which pile up here
            work.close()
            raise WireError("it asks more than it may")
        task = asyncio.create_task(work)
        self._tasks.add(task)
        self._open_bytes += head_bytes

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self._open_bytes -= head_bytes

        task.add_done_callback(done)
