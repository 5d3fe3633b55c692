"""The one writer of a session's log: takes what waits, has it written, says so; dead after its first failure.

While the disk answers quickly, whoever records writes at once, and spares every entry two changes of thread;
what was put in meanwhile goes along. Nothing tells beforehand that a sync will take long, so that one slow
write may hold up the caller's loop; for a while after it a thread writes, and holds up only those who wait.
Time in which the writing thread waited for a processor is not the disk's.
Where programs can make the disk slow whenever they like, the thread always writes. It also does what has to
be done when nobody records.
"""

import math
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from audit.appendfile import spoken
from audit.batch import Batch, Urgency, Waiting
from audit.encode import Encoder
from audit.errors import AuditError, LedgerDeadError, LedgerError, LedgerFullError
from audit.host import HostLog, Receipt
from audit.host_seals import HostSeals
from audit.runqueue import RunQueue
from audit.sealed import End, SealedFile, Sealing

_LAZY, _CLOSING = Urgency.LAZY, Urgency.CLOSING  # looked at for every entry
QUICK_SECONDS = 0.025
WARY_TIMES = 40.0
"""How many times as long as a slow write took nobody then writes in their own turn: while a disk is slow, a
caller's loop is held up for at most a fortieth part of the time."""
WARY_SECONDS = 30.0
"""The most of it."""


class Tell(Protocol):
    """Who is told by a writer, from any thread; neither call may raise or block."""

    def answered(self, lines: list[Waiting]) -> None:
        """Take that some lines have their answers, for whoever waits for them."""
        ...

    def failed(self, error: LedgerError) -> None:
        """Take, once, that the log can no longer be written."""
        ...


class Writer:
    """Writes one session's log while it is open.

    Args:
        end: Where the log ends.
        sealing: With what to seal it.
        encoder: Encodes the seals.
        host: The host's log, which is told of them.
        tell: Who is told what came of a line.
        in_turn: Whether a caller may write in its own turn; False where others can make the disk slow.
    """

    def __init__(  # noqa: PLR0913 - what a log needs, each of its own kind
        self,
        end: End,
        sealing: Sealing,
        encoder: Encoder,
        host: HostLog,
        tell: Tell,
        *,
        in_turn: bool = True,
    ) -> None:
        self.error: LedgerError | None = None
        self._host = HostSeals(host, self._failed)
        self.file = SealedFile(end, sealing, encoder, self._host.tell)
        self._path = end.files.events
        self._tell = tell
        self._batch = Batch()
        self._turn = threading.Lock()
        self._callers: RunQueue | None = None
        self._queue: RunQueue | None = None  # of whoever has the turn
        self._in_turn_from = 0.0 if in_turn else math.inf  # of the monotonic clock
        self._thread = threading.Thread(target=self._run, name=f"ledger-{sealing.session}", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        self._host.start()
        self._thread.start()

    def put(self, line: Waiting) -> None:
        """Hand a line over, for `write_now` or the thread to write; a lazy one has time."""
        self._batch.put(line, wake=line.urgency is _LAZY)

    def write_now(self, alone: Waiting | None = None) -> bool:
        """Write what waits in this thread, if the disk was quick of late and nobody else is at it.

        Args:
            alone: A line that was not put in, to be written behind what waits.

        Returns:
            Whether every line that was put in has its answer, or the one alone has; else the thread is at it,
            or the one alone is to be put in.
        """
        if time.monotonic() < self._in_turn_from or not self._turn.acquire(blocking=False):
            if alone is None:  # else there is nothing yet to wake the thread for
                self._batch.wake()
            return False
        try:
            was_sealed = self.file.is_sealed
            if self._callers is None:
                self._callers = RunQueue()
            self._queue = self._callers
            lines = self._batch.take()
            if alone is not None:
                lines.append(alone)
            self._flush(lines)
        finally:
            self._turn.release()
        if was_sealed:  # the thread waits for nothing; from now on it has a seal to make in time
            self._batch.wake()
        return True

    def hand_over(self) -> None:
        """Leave what waits to the thread."""
        self._batch.wake()

    def stop(self) -> None:
        """Write what waits, seal, tell the host's log, and close the files. Blocks."""
        self._batch.stop()
        if self._thread.is_alive():
            self._thread.join()
        self._host.stop()
        self.file.close()
        if self._callers is not None:
            self._callers.close()

    def refusal(self, *, closing: bool = False) -> LedgerError | None:
        """Return why nothing is written any more; on a full disk the closing lines still are."""
        if self.error is None or (closing and isinstance(self.error, LedgerFullError)):
            return None
        return self.error

    def _run(self) -> None:
        own = RunQueue()
        try:
            self._take_turns(own)
        finally:
            own.close()

    def _take_turns(self, own: RunQueue) -> None:
        stopping = False
        while not stopping:
            stopping = self._batch.wait(self._seal_at)
            with self._turn:
                self._queue = own
                lines = self._batch.take(lazy_too=stopping)
                if lines or (self.error is None and self.file.seal_is_due()):
                    self._flush(lines)
                if stopping:
                    self._seal_the_rest()

    def _seal_at(self) -> float | None:
        return self.file.seal_at() if self.error is None else None

    def _flush(self, lines: list[Waiting]) -> None:
        if not lines or lines[-1].urgency is not _CLOSING:  # nothing is put in behind the end
            self._attempt(lines)
            return
        try:
            if len(lines) > 1:
                self._attempt(lines[:-1])
        finally:
            self._attempt(lines[-1:], closing=True)

    def _attempt(self, lines: list[Waiting], *, closing: bool = False) -> None:
        refusal = None if self.error is None else self.refusal(closing=closing)
        answers: Sequence[Receipt | LedgerError]
        if refusal is not None:
            answers = [refusal] * len(lines)
        else:
            began = time.monotonic()
            if self._queue is not None:
                self._queue.mark(began)
            try:
                answers = self.file.write(lines, closing=closing)
            except (LedgerError, OSError) as error:
                self._failed(error)
                answers = [self.error or LedgerDeadError("the ledger has failed")] * len(lines)
            except BaseException as error:  # INVARIANT: nothing is chained to a line of which nobody knows
                self._failed(LedgerDeadError(f"a write was broken off by {type(error).__name__}"))
                self._answer(lines, [self.error or LedgerDeadError("the ledger has failed")] * len(lines))
                raise
            now = time.monotonic()
            if now - began >= QUICK_SECONDS:
                self._be_wary(began, now)
        self._answer(lines, answers)

    def _answer(self, lines: list[Waiting], answers: Sequence[Receipt | LedgerError]) -> None:
        asked = []
        for line, answer in zip(lines, answers, strict=True):
            line.answer = answer  # before anybody looks for the asker
            if line.asker is not None:
                asked.append(line)
        if asked:
            self._tell.answered(asked)

    def _be_wary(self, began: float, now: float) -> None:
        took = now - began
        if self._queue is not None:
            took -= self._queue.seconds_since(began)  # a busy processor makes no disk slow
        if took >= QUICK_SECONDS:
            self._in_turn_from = max(self._in_turn_from, now + min(WARY_SECONDS, WARY_TIMES * took))

    def _seal_the_rest(self) -> None:
        if self.refusal(closing=True) is not None:
            return
        try:
            self.file.seal_the_rest()
        except (LedgerError, OSError) as error:
            self._failed(error)

    def _failed(self, error: AuditError | OSError) -> None:
        if self.error is not None and not isinstance(self.error, LedgerFullError):
            return
        first = self.error is None
        if isinstance(error, OSError):
            error = spoken(error, self._path)
        self.error = error if isinstance(error, LedgerError) else LedgerError(str(error))
        if first:
            self._tell.failed(self.error)
