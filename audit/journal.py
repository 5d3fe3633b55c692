"""One writer for one session: `await journal.record(event)` returns when the entry survives a power cut.

A journal that has failed once is dead: every later `record` raises LedgerError, `journal.failed` is done,
and its owner kills the container. On a full disk the closing entry still finds room.
"""

import asyncio
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from audit.answers import Bridge, receipt, written
from audit.batch import Urgency, Waiting
from audit.begin import Opened, Plan, Registration
from audit.clock import Clock, SystemClock
from audit.errors import LedgerDeadError, LedgerError
from audit.event import SessionClosed
from audit.fields import Commitment, Event
from audit.host import Receipt
from audit.opened_in_a_thread import opened_in_a_thread
from audit.openings import Opening, commit
from audit.recover import Recovered
from audit.redact import Redactor
from audit.sealed import SEGMENT_BYTES
from audit.writer import Writer

__all__ = ["Journal", "Receipt", "Registration"]

_MOST_LAZY = 1024
_SYNC, _CLOSING = Urgency.SYNC, Urgency.CLOSING  # looked at for every entry
_ALONE_SECONDS = 0.002
"""How long the loop may go without a turn while nobody but one caller records: some ten entries."""


class Journal:
    """A session's log, open for writing; use it with `async with`.

    Make one with `Journal.create` or `Journal.reopen`.
    """

    def __init__(self, state: Path, session_id: str, plan: Plan) -> None:
        self.session_id = session_id
        self._state = state
        self._plan = plan
        self._openings: list[Opening] = []
        self._waiting = 0
        self._lazy = 0
        self._ended = False
        self._ahead: Waiting | None = None
        self._alone_until = 0.0
        self._had_turn = self._turn_is_due = False
        self._waiting_since = 0.0
        self._spent_seconds = 0.0
        self._open: Opened | None = None
        self._failure: asyncio.Future[LedgerError] | None = None

    @classmethod
    def create(  # noqa: PLR0913 - keyword-only settings with defaults
        cls,
        state: Path,
        session_id: str,
        *,
        registration: Registration,
        secrets_by_name: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        writer: str = "",
        segment_bytes: int = SEGMENT_BYTES,
        programs: bool = False,
    ) -> "Journal":
        """Return the journal of a new session, to be entered with `async with`.

        Entering it writes the session's first line and registers the session in the host's log, both durable.

        Args:
            state: The state folder.
            session_id: 12 lowercase Crockford base32 characters.
            registration: What the host's index says of it.
            secrets_by_name: Values that must never reach the ledger.
            clock: Where time comes from.
            writer: The version of pairlock that writes.
            segment_bytes: Begin a new file when the present one is larger.
            programs: Whether the session runs programs: they may make the disk slow, so that its writes are
                left to a thread from the start.
        """
        secret, clock = dict(secrets_by_name or {}), clock or SystemClock()
        plan = Plan(registration, secret, clock, writer, segment_bytes, in_turn=not programs)
        return cls(state, session_id, plan)

    @classmethod
    def reopen(  # noqa: PLR0913 - keyword-only settings with defaults
        cls,
        state: Path,
        session_id: str,
        *,
        secrets_by_name: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        writer: str = "",
        segment_bytes: int = SEGMENT_BYTES,
        programs: bool = False,
        entries: int | None = None,
    ) -> "Journal":
        """Return the journal of a session that another writer has left, to be entered with `async with`.

        Entering it verifies the log, cuts a torn last line off, and goes on with a new key; of other than so
        many `entries` (None for any) it writes nothing (LedgerMovedError). Other arguments as in `create`.
        """
        secret, clock = dict(secrets_by_name or {}), clock or SystemClock()
        plan = Plan(None, secret, clock, writer, segment_bytes, in_turn=not programs, entries=entries)
        return cls(state, session_id, plan)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._failure = loop.create_future()
        bridge = Bridge(loop, self._failure)
        self._open = await opened_in_a_thread(self._state, self.session_id, self._plan, bridge)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            await asyncio.to_thread(opened.close)

    @property
    def failed(self) -> "asyncio.Future[LedgerError]":
        """Return what is done, with the reason, when the ledger can no longer be written; never cancel it."""
        if self._failure is None:
            raise LedgerDeadError("the journal has not been opened")
        return self._failure

    @property
    def spent_ms(self) -> int:
        """Return the milliseconds during which at least one caller waited for the ledger to be durable."""
        running = time.monotonic() - self._waiting_since if self._waiting else 0.0
        return int((self._spent_seconds + running) * 1000)

    @property
    def redactor(self) -> Redactor:
        """Return what replaces this session's secrets, for what the model is shown as well."""
        return self._opened().redactor

    @property
    def recovered(self) -> Recovered | None:
        """Return what reopening found; None in a new session."""
        return self._opened().recovered

    def commit(self, value: str | bytes, *, keep: bool = True) -> Commitment:
        """Return a commitment to a body, whose opening becomes durable with the next entry recorded.

        Args:
            value: The body; known secrets are replaced first.
            keep: False to keep the salt only.
        """
        raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        opening = commit(self.redactor.raw(raw), random=secrets.token_bytes, keep=keep)
        self._openings.append(opening)
        return opening.commitment

    async def record(self, event: Event) -> Receipt:
        """Remember an event; when this returns, the entry is durable.

        Args:
            event: One of the session's types.

        Raises:
            LedgerError: When it cannot be written. Nothing further may be done, then.
        """
        return await self._sent(event, _SYNC)

    async def close(self, event: SessionClosed) -> Receipt:
        """Remember the session's end and seal it; on a full disk this still finds room.

        Args:
            event: The end and the account.

        Raises:
            LedgerError: When it cannot be written.
        """
        had_ended = self._ended
        try:
            return await self._sent(event, _CLOSING)
        except LedgerError:
            self._ended = had_ended
            raise

    async def record_lazily(self, event: Event) -> None:
        """Remember an event within 100 ms, in its order, without waiting until it is durable.

        Each 1024th waits all the same, so that a disk slower than its caller fills no memory.

        Args:
            event: One that may be lost in a crash, for example a piece of output.

        Raises:
            LedgerError: When the ledger has failed already.
        """
        self._lazy += 1
        if self._lazy >= _MOST_LAZY:
            await self._sent(event, _SYNC)
            return
        self._writer(closing=False).put(self._waiting_line(event, Urgency.LAZY))
        await asyncio.sleep(0)

    def record_ahead(self, event: Event) -> None:
        """Remember an event together with what is recorded next, within 100 ms; nobody waits for it.

        Args:
            event: One that nothing rests on before the next `record`, or `settled`, has returned.

        Raises:
            LedgerError: When the ledger has failed already.
        """
        writer = self._writer(closing=False)
        self._ahead = self._waiting_line(event, Urgency.LAZY)
        writer.put(self._ahead)

    async def settled(self) -> None:
        """Return when what was recorded ahead is durable.

        Raises:
            LedgerError: When it could not be written.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            await written(self._opened().writer, ahead)
            receipt(ahead)

    async def _sent(self, event: Event, urgency: Urgency) -> Receipt:
        writer = self._writer(closing=urgency is _CLOSING)
        self._lazy = 0
        began = time.monotonic()
        line = self._waiting_line(event, urgency)
        if not self._waiting:
            self._waiting_since = began
        self._waiting += 1
        try:
            if not self._is_alone(began) or not writer.write_now(line):
                writer.put(line)
                await self._turn_of_the_loop(writer)
                await written(writer, line)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._spent_seconds += time.monotonic() - self._waiting_since
        self._look_for_a_turn()
        return receipt(line)

    def _is_alone(self, now: float) -> bool:
        """Tell whether to write at once: nobody else did, and the loop had a turn since, or not long ago."""
        had_turn, self._had_turn = self._had_turn, False
        if self._waiting > 1 or not self._alone_until:
            return False
        return had_turn or now < self._alone_until

    def _look_for_a_turn(self) -> None:
        """Take note of the next turn of the loop, which it has while the caller waits for anything else."""
        if not self._turn_is_due:
            self._turn_is_due = True
            asyncio.get_running_loop().call_soon(self._note_turn)

    def _note_turn(self) -> None:
        self._had_turn, self._turn_is_due = True, False

    async def _turn_of_the_loop(self, writer: Writer) -> None:
        """Let others put in what they have: it goes into one write, which the first to come back does.

        Where nobody did, whoever goes on recording writes without waiting for them, for a little while.
        """
        self._alone_until = 0.0
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            writer.hand_over()
            raise
        self._had_turn = False
        if self._waiting == 1:
            self._alone_until = time.monotonic() + _ALONE_SECONDS

    def _waiting_line(self, event: Event, urgency: Urgency) -> Waiting:
        rest, moved = self._opened().encoder.encode(event)
        openings, self._openings = self._openings, []
        if moved is not None:
            openings.append(moved)
        return Waiting(rest=rest, openings=openings, urgency=urgency)

    def _writer(self, *, closing: bool) -> Writer:
        writer = self._opened().writer
        if self._ended:
            raise LedgerDeadError("nothing more is recorded: the session has recorded its end")
        refusal = None if writer.error is None else writer.refusal(closing=closing)
        if refusal is not None:
            raise LedgerDeadError(f"nothing more is recorded: {refusal}") from refusal
        self._ended = closing  # INVARIANT: nothing is put in behind the end, not even while that is written
        return writer

    def _opened(self) -> Opened:
        if self._open is None:
            raise LedgerDeadError("the journal is closed")
        return self._open
