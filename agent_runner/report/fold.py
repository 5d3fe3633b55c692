"""Fold a session's ledger, entry by entry, into everything that a report tells of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from agent_runner.report.bodies import Bodies
from agent_runner.report.conversation import Conversation
from agent_runner.report.moment import Moment
from agent_runner.report.running import RunningTime
from agent_runner.report.steps import Steps
from agent_runner.report.times import Times
from agent_runner.report.traffic import Traffic
from agent_runner.report.usage import Usage
from audit import event
from audit.errors import AuditError
from audit.reader import BrokenEntry

if TYPE_CHECKING:
    from audit.chain import Entry
    from audit.reader import SessionReader

UNREADABLE = "(unreadable)"
"""The kind of an entry whose event cannot be read."""


class SessionFold:
    """What a session has come to, as far as its entries were taken in; nothing that they hold raises.

    Args:
        reader: Reads the entries' bodies.
        withheld: Commitments whose values were withheld on purpose, as the host's log says.

    Attributes:
        entries: How many entries were taken in.
        opened: How the session was started; None until that is known.
        children: Sessions that were started below it, as it names them.
        created: How its last sandbox was made; None until one is.
        attested: What its last sandbox was found to be; None until it was looked at.
        closed: Its end; None while it has none.
        kinds: Type of entry -> how many.
    """

    def __init__(self, reader: SessionReader, withheld: frozenset[str]) -> None:
        self._reader = reader
        self.bodies = Bodies(reader, withheld)
        self.steps = Steps()
        self.time = RunningTime()
        self.times = Times()
        self.traffic = Traffic()
        self.usage = Usage()
        self._conversation = Conversation(self.steps, self.bodies)
        self.entries = 0
        self.opened: event.SessionOpened | None = None
        self.children: list[str] = []
        self.created: event.SandboxCreated | None = None
        self.attested: event.SandboxAttested | None = None
        self.closed: event.SessionClosed | None = None
        self.kinds: Counter[str] = Counter()

    def read_with(self, reader: SessionReader) -> None:
        """Read the bodies of what comes from here on with another reader, one that knows them."""
        self._reader = reader
        self.bodies.read_with(reader)

    def take(self, entry: Entry | BrokenEntry) -> None:
        """Take in the next entry."""
        if isinstance(entry, BrokenEntry):
            self._conversation.broken(Moment(entry.seq, "", self.time.now_ms), entry.why, entry.raw)
            return
        self.entries += 1
        moment = Moment(entry.seq, entry.at, self.time.place(entry))
        try:
            happened = self._reader.event(entry)
        except (AuditError, OSError, ValueError) as error:
            self._conversation.unreadable(moment, entry.type, str(error))
            self.kinds[UNREADABLE] += 1
            return
        self.kinds[entry.type] += 1
        self._remember(happened)
        self._conversation.take(moment, happened)
        self.times.take(moment, happened)
        self.traffic.take(happened)
        self.usage.take(moment.ms, happened)

    def _remember(self, happened: object) -> None:
        match happened:
            case event.SessionOpened():
                self.opened = happened
            case event.SessionDelegated(child=child):
                self.children.append(child)
            case event.SandboxCreated():
                self.created = happened
            case event.SandboxAttested():
                self.attested = happened
            case event.SessionClosed():
                self.closed = happened
            case event.SessionRecovered():
                self.closed = None
            case _:
                pass
