"""Lend workers to streams, and listen to them: what comes from a worker and breaks a rule costs it its life.

A worker's process can be killed and stopped by any program of the session, which runs under the same uid.
"""

from __future__ import annotations

import time

from . import frames
from .admission import PROGRAM
from .frames import Frame, ProtocolError
from .objects import decode_object
from .plumbing import Pipes
from .stream import LOST, Outcome
from .watch import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .objects import Object
    from .pool import Pool, Worker
    from .stream import Stream
    from .watch import Watch
    from .wire import Wire

MAX_FILE_WORKERS = 8
_FEED_BYTES = 64 * 1024
_LAST_READS = 4  # of 128 KiB: more than a socket holds
_BUSY: Object = {"code": "busy", "message": "no process could be made for the program's keeper"}


class Lending:
    """Who works for which stream.

    Args:
        link: to the host.
        watch: the loop's descriptors.
        pool: the workers.
        live: the streams that there are, by number.
        touched: the streams on which something may move, and which the loop is to look at, by number.
        done: is called with a stream whose work has an outcome, and with whether its worker was lost.
    """

    def __init__(  # noqa: PLR0913 (made in one place; each is a part of the guest)
        self,
        link: Wire,
        watch: Watch,
        pool: Pool,
        live: dict[int, Stream],
        *,
        touched: dict[int, Stream],
        done: Callable[[Stream, bool], None],
    ) -> None:
        self._link = link
        self._watch = watch
        self._pool = pool
        self._live = live
        self._touched = touched
        self._done = done
        self._queued: list[Stream] = []

    @property
    def is_waiting(self) -> bool:
        """Tell whether a request waits for a worker."""
        return bool(self._queued)

    def queue(self, stream: Stream) -> None:
        """Have `start_waiting` find a worker for a stream."""
        self._queued.append(stream)

    def start_waiting(self) -> None:
        """Try to find workers for the streams that wait, in their order."""
        if not self._queued:
            return
        waiting, self._queued = self._queued, []
        for stream in waiting:
            if stream.outcome is not None or self._live.get(stream.number) is not stream:
                continue
            if not self._start(stream):
                self._queued.append(stream)

    def _start(self, stream: Stream) -> bool:
        """Give a stream's request to a worker; return whether it need not wait any longer."""
        is_program = stream.operation == PROGRAM
        if not is_program and self._file_workers() >= MAX_FILE_WORKERS:
            return False
        worker = self._pool.lend(reserve=1 if is_program else 0)
        if worker is not None and is_program and stream.pipes is None:
            stream.pipes = _pipes(stream.output_bytes)
        if worker is None or (is_program and stream.pipes is None):
            if worker is not None:
                self._pool.take_back(worker)
            if is_program:
                stream.outcome = Outcome(frames.FAIL, _BUSY)
                self._touched[stream.number] = stream
            return is_program
        return self._give(stream, worker)

    def _give(self, stream: Stream, worker: Worker) -> bool:
        pipes, inlet = stream.pipes, stream.inlet
        has_ended = pipes is None and inlet.ended and inlet.is_empty
        try:
            worker.give(stream.number, stream.payload, pipes.child_ends if pipes else [], has_ended=has_ended)
        except EOFError:  # it was killed while it was idle, and has read nothing: another will do it
            self.died(worker)
            return False
        stream.worker = worker
        stream.deadline = time.monotonic() + stream.seconds
        stream.payload = b""
        stream.end_passed_on = has_ended
        if pipes is not None:
            pipes.close_child_ends()
        self._touched[stream.number] = stream
        return True

    def _file_workers(self) -> int:
        return sum(stream.worker is not None and stream.pipes is None for stream in self._live.values())

    # ---- to a worker

    def feed(self, stream: Stream, worker: Worker) -> None:
        """Pass the host's body bytes on."""
        # INVARIANT: what stays in the inlet has a full queue before it, so that room in the socket wakes us.
        while not stream.inlet.is_empty:
            if worker.wire.queued_bytes >= _FEED_BYTES:
                worker.flush()
                if worker.wire.queued_bytes >= _FEED_BYTES:
                    break
            data = stream.inlet.peek()[:_FEED_BYTES]
            worker.tell(frames.BODY, stream.number, data)
            stream.inlet.taken(len(data), self._link)
        if stream.inlet.ended and stream.inlet.is_empty and not stream.end_passed_on:
            stream.end_passed_on = True
            worker.tell(frames.END, stream.number)

    # ---- from a worker

    def attend(self, worker: Worker) -> None:
        """Send a worker what waits for it, and watch its socket; what it says waits where the host does."""
        if worker.wire.queued_bytes:
            worker.flush()
        stream = self._live.get(worker.stream)
        open_to_read = (
            stream is None or stream.is_discarding or (self._link.has_room and stream.outlet.is_empty)
        )
        interest = (READ if open_to_read else 0) | (WRITE if worker.wire.queued_bytes else 0)
        if interest != worker.interest:
            worker.interest = interest
            self._watch.want(worker.wire.source, interest, lambda _: self._listen(worker))

    def _listen(self, worker: Worker) -> None:
        try:
            worker.wire.flush()
            for frame in worker.wire.receive():
                self._hear(worker, frame)
        except (EOFError, ProtocolError):
            self.died(worker)
            return
        stream = self._live.get(worker.stream)
        if stream is not None:
            self._touched[stream.number] = stream  # whose look at it attends to its worker
        else:
            self.attend(worker)

    def _hear(self, worker: Worker, frame: Frame) -> None:
        stream = self._live.get(frame.stream)
        if stream is None or stream.worker is not worker:
            raise ProtocolError("a worker spoke for a stream that is not its own")
        if frame.kind == frames.BODY and stream.pipes is None:
            if not stream.is_discarding:
                stream.outlet.put(frames.BODY, frame.payload)
            return
        if frame.kind not in (frames.RESULT, frames.FAIL):
            raise ProtocolError("a worker sent a frame that workers do not send")
        values = decode_object(frame.payload)  # also where nobody reads them: they have to be sound
        stream.worker = None
        self._pool.take_back(worker)
        stream.settle(Outcome(frame.kind, values, frame.payload))
        self._done(stream, False)  # noqa: FBT003 (the callback's one fact)

    # ---- what programs do to workers

    def buried(self, worker: Worker) -> None:
        """Take in what a worker that has died still had to say, and make an end with it.

        Its socket is not read while the host takes nothing, so that its death would not be noticed there.
        What it left behind may hold the socket open: there is no waiting for its end.
        """
        for _ in range(_LAST_READS):
            if worker in self._pool:
                self._listen(worker)
        if worker in self._pool:
            self.died(worker)

    def stopped(self, worker: Worker) -> None:
        """Wake a worker that a program has stopped; one that is stopped again and again is replaced."""
        if not self._pool.wake(worker):
            self.died(worker)

    def died(self, worker: Worker) -> None:
        """Forget a worker that has died, or has to; its stream's outcome is not known."""
        stream = self._live.get(worker.stream)
        self._watch.forget(worker.wire.source)
        self._pool.discard(worker)
        if stream is None or stream.worker is not worker:
            return
        stream.worker = None
        stream.settle(Outcome(frames.FAIL, LOST))
        self._done(stream, True)  # noqa: FBT003 (the callback's one fact)


def _pipes(output_bytes: int) -> Pipes | None:
    """Return a program's pipes; None when there are no descriptors left."""
    try:
        return Pipes(output_bytes)
    except OSError:
        return None
