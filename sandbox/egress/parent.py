"""Hold the egress process's end of the pipe to its parent, which writes, finds secrets and asks people."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.wire import (
    ApprovalGiven,
    ApprovalWanted,
    Happened,
    Noted,
    SecretGiven,
    SecretWanted,
    ToParent,
    encoded,
)

if TYPE_CHECKING:
    from sandbox.egress.credentials import Credential
    from sandbox.egress.events import Decided, Event


class Parent:
    """The other end of the pipe: it writes events down and hands out credentials.

    Args:
        writer: Towards it.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._numbers = count(1)
        self._notes: dict[int, asyncio.Future[bool]] = {}
        self._secrets: dict[int, asyncio.Future[Credential | None]] = {}
        self._approvals: dict[int, asyncio.Future[str]] = {}

    async def record(self, event: Event) -> None:
        """Return when the event is durable.

        Raises:
            EgressDeniedError: When it could not be written down.
        """
        number = next(self._numbers)
        answer = self._notes[number] = asyncio.get_running_loop().create_future()
        await self.tell(Happened(id=number, event=event))
        if not await answer:
            raise EgressDeniedError("journal", "the ledger cannot be written, so nothing leaves")

    async def secret(self, name: str) -> Credential:
        """Return one credential.

        Raises:
            EgressDeniedError: When there is none of that name.
        """
        number = next(self._numbers)
        answer = self._secrets[number] = asyncio.get_running_loop().create_future()
        await self.tell(SecretWanted(id=number, name=name))
        credential: Credential | None = await answer
        if credential is None:
            raise EgressDeniedError(
                "credential",
                f"there is no credential `{name}`",
                hint="the operator configures it; the policy only names it",
            )
        return credential

    async def approve(self, event: Decided, query: str) -> None:
        """Return when a person has approved it.

        Raises:
            EgressDeniedError: When a person said no, or nobody answered in time.
        """
        number = next(self._numbers)
        answer = self._approvals[number] = asyncio.get_running_loop().create_future()
        await self.tell(ApprovalWanted(id=number, event=event, query=query))
        if why := await answer:
            raise EgressDeniedError(
                "approval",
                f"`{event.host}` needs an approval by its rule, and it was not approved: {why}",
                hint="a person approves each request, or connection that is not read; ask another host",
                rule=event.rule,
            )

    async def tell(self, message: ToParent, blob: bytes = b"") -> None:
        """Send a message and wait for room."""
        self._writer.write(encoded(message, blob))
        await self._writer.drain()

    def noted(self, message: Noted) -> None:
        """Take in what became of an event."""
        if (waiting := self._notes.pop(message.id, None)) and not waiting.done():
            waiting.set_result(message.durable)

    def given(self, message: SecretGiven) -> None:
        """Take in a credential."""
        if (waiting := self._secrets.pop(message.id, None)) and not waiting.done():
            waiting.set_result(message.credential)

    def answered(self, message: ApprovalGiven) -> None:
        """Take in what a person said."""
        if (waiting := self._approvals.pop(message.id, None)) and not waiting.done():
            waiting.set_result(message.why_not)
