"""Be PID 1: one non-blocking loop that multiplexes, reaps and times out, and nothing else."""

from __future__ import annotations

import os
import time

from . import descendants, frames
from .frames import Frame, ProtocolError
from .greeting import EXIT_CLOSED, EXIT_LEASE, EXIT_PROTOCOL, Ended
from .streams import Streams
from .watch import READ, WRITE, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .greeting import Greeting
    from .outgoing import Outgoing
    from .pool import Pool
    from .signals import ChildBell
    from .wire import Wire

LINK_FULL_BYTES = 4 << 20
_TICK_SECONDS = 1.0
_SWEEP_SECONDS = 0.02
_FROZEN_SECONDS = 1.0

EXIT_WALL = 6


class Guest:
    """The loop.

    Args:
        link: to the host.
        pool: the workers.
        bell: rings when a child has died.
        greeting: what the host said.
        holds_exec: whether `process.spawn` exists.
        keeps_orphans: whether workers keep the orphans of their programs; else they come to PID 1.
        outgoing: the streams that the guest opens; None where it opens none.
    """

    def __init__(  # noqa: PLR0913 (made in one place; each is a part of the guest)
        self,
        link: Wire,
        pool: Pool,
        bell: ChildBell,
        greeting: Greeting,
        *,
        holds_exec: bool,
        keeps_orphans: bool,
        outgoing: Outgoing | None,
    ) -> None:
        self._link = link
        self._pool = pool
        self._bell = bell
        self._watch = Watch()
        self._streams = Streams(link, self._watch, pool, holds_exec=holds_exec, ended=self._program_ended)
        self._keeps_orphans = keeps_orphans
        self._outgoing = outgoing
        self._behind = greeting.behind
        self._lease_seconds = greeting.lease_seconds
        self._wall_at = greeting.wall_at
        self._last_beat = time.monotonic()
        self._woke = time.monotonic()
        self._sweeping = False
        self._link_interest = (-1, -1)

    def run(self) -> None:
        """Serve until the link closes, the lease or the wall clock runs out, or the host breaks a rule.

        Raises:
            Ended: always.
        """
        self._watch.want(self._bell.fileno(), READ, lambda _: self._bury())
        for worker in self._pool:
            self._streams.lending.attend(worker)
        if self._outgoing is not None:
            self._outgoing.watched_by(self._watch)
        self._obey(self._behind)
        while True:
            self._turn()

    def _turn(self) -> None:
        self._watch_link()
        pause = self._pause()
        happened = self._watch.wait(pause)
        now = time.monotonic()
        # The whole turn is measured, for it may be frozen anywhere.
        self._forgive_frozen_time(now - self._woke - pause)
        self._woke = now
        self._enforce(now)
        if not happened:
            self._tidy()
        self._streams.progress()
        if self._outgoing is not None:
            self._outgoing.fill()
            self._outgoing.attend()
        self._flush()

    def _pause(self) -> float:
        """Return how long the loop may sleep: at most a tick, so that frozen time is noticed."""
        if self._sweeping:
            return _SWEEP_SECONDS
        if (
            self._streams.lending.is_waiting
            or self._pool.lacks
            or (self._outgoing is not None and self._outgoing.lacks)
        ):
            return _SWEEP_SECONDS / 4
        now = self._woke  # at most a turn ago, and so are the deadlines found to be
        times = (self._last_beat + self._lease_seconds, self._wall_at, now + _TICK_SECONDS)
        return max(0.0, min(*times, self._streams.wakes_at) - now)

    def _forgive_frozen_time(self, overslept: float) -> None:
        """Give the host its lease back for time in which this process was frozen, like a paused container."""
        if overslept > _FROZEN_SECONDS:
            self._last_beat += overslept

    def _enforce(self, now: float) -> None:
        if now >= self._wall_at:
            raise Ended(EXIT_WALL, "the wall clock of the session ran out")
        if now >= self._last_beat + self._lease_seconds:
            raise Ended(EXIT_LEASE, f"no beat from the host for {self._lease_seconds} seconds")
        self._streams.enforce(now)

    def _tidy(self) -> None:
        self._bury()  # the bell may have been silenced by a program, where one can open it
        if self._sweeping:
            self._sweep()
        made = self._pool.fill()
        if made is not None:
            self._streams.lending.attend(made)

    # ---- the link

    def _watch_link(self) -> None:
        queued_bytes = self._link.queued_bytes
        interest = (0 if queued_bytes >= LINK_FULL_BYTES else READ, WRITE if queued_bytes else 0)
        if interest == self._link_interest:
            return
        self._link_interest = interest
        self._watch.want(self._link.source, interest[0], lambda _: self._link_readable())
        self._watch.want(self._link.sink, interest[1], lambda _: self._link_writable())

    def _link_readable(self) -> None:
        try:
            received = self._link.receive()
        except EOFError:
            raise Ended(EXIT_CLOSED) from None
        except ProtocolError as error:
            raise Ended(EXIT_PROTOCOL, f"protocol error: {error}") from error
        self._obey(received)

    def _obey(self, received: list[Frame]) -> None:
        try:
            for frame in received:
                self._take(frame)
        except ProtocolError as error:
            raise Ended(EXIT_PROTOCOL, f"protocol error: {error}") from error

    def _link_writable(self) -> None:
        self._flush()
        self._streams.touch_all()

    def _flush(self) -> None:
        try:
            self._link.flush()
        except EOFError:
            raise Ended(EXIT_CLOSED) from None

    def _take(self, frame: Frame) -> None:
        if frame.kind == frames.HELLO:
            raise ProtocolError("a second HELLO")
        if frame.kind == frames.BEAT:
            self._last_beat = time.monotonic()  # not the turn's: the host beats after a freeze, too
            self._link.send(frames.BEAT, 0)
        elif frame.stream % 2 == 0 and self._outgoing is not None:
            self._outgoing.take(frame)
        else:
            self._streams.take(frame)

    # ---- processes

    def _bury(self) -> None:
        """Reap every child that has died: workers, and orphans of programs whose worker was killed.

        Those that a program has stopped are woken, so that no action waits for one until its time is over.
        """
        self._bell.silence()
        lending = self._streams.lending
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if process == 0:
                return
            stopped = os.WIFSTOPPED(status)
            worker = self._pool.of(process)
            if worker is not None:
                (lending.stopped if stopped else lending.buried)(worker)
            elif stopped and self._outgoing is not None and process == self._outgoing.process:
                self._outgoing.stopped()

    def _program_ended(self, lost: bool) -> None:  # noqa: FBT001 (the callback's one fact)
        if lost or not self._keeps_orphans:
            self._sweep()

    def _sweep(self) -> None:
        """End the processes that belong to no worker that is alive: what a killed worker's program left."""
        me = os.getpid()
        parent_of = descendants.parents()
        strays = descendants.below(me, parent_of)
        if self._outgoing is not None:
            strays -= {self._outgoing.process}
        for worker in self._pool:
            strays -= {worker.process}
            strays -= descendants.below(worker.process, parent_of)
        descendants.end(strays)
        self._sweeping = bool(strays)
