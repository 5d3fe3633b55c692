"""Carry the streams of one link: take requests, lend workers, answer, end what overruns.

Everything here returns at once. What comes from the host and breaks a rule raises ProtocolError and ends the
guest; what comes from a worker and breaks one costs that worker its life and its stream a FAIL.
"""

from __future__ import annotations

import time

from . import frames, program
from .arguments import Arguments
from .frames import Frame, ProtocolError
from .objects import decode_object, encode_object
from .plumbing import Pipes, Plumbing
from .refusal import RefusedError
from .stream import Stream
from .watch import READ, WRITE
from .worker import OPERATIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .objects import Object
    from .pool import Pool, Worker
    from .watch import Watch
    from .wire import Wire

MAX_STREAMS = 256
MAX_PROGRAMS = 64
MAX_FILE_WORKERS = 8
DEFAULT_SECONDS = 30.0
MAX_SECONDS = 3600.0
CANCEL_GRACE_SECONDS = 0.5
PROGRAM_GRACE_SECONDS = program.GRACE_SECONDS + program.GIVE_UP_SECONDS + 1.0
_FEED_BYTES = 64 * 1024
_PROGRAM = "process.spawn"


class Streams:
    """All streams of the link.

    Args:
        link: to the host.
        watch: the loop's descriptors.
        pool: the workers.
        holds_exec: whether `process.spawn` exists.
        ended: is called when a program has ended, with whether its worker was lost with it: time to sweep.
    """

    def __init__(
        self, link: Wire, watch: Watch, pool: Pool, *, holds_exec: bool, ended: Callable[[bool], None]
    ) -> None:
        self._link = link
        self._watch = watch
        self._pool = pool
        self._holds_exec = holds_exec
        self._program_ended = ended
        self._plumbing = Plumbing(link, watch, self._progress)
        self._live: dict[int, Stream] = {}
        self._queued: list[Stream] = []
        self._newest = -1

    # ---- from the host

    def take(self, frame: Frame) -> None:
        """Act on one frame.

        Raises:
            ProtocolError: when the host broke a rule.
        """
        if frame.kind == frames.OPEN:
            self._open(frame)
            return
        stream = self._live.get(frame.stream)
        if stream is None:
            self._require_past(frame)
            return
        match frame.kind:
            case frames.BODY:
                stream.inlet.put(frame.payload)
            case frames.END:
                stream.inlet.end()
            case frames.CREDIT:
                stream.outlet.allow(frames.credit_of(frame))
            case frames.CANCEL:
                self._cancel(stream)
            case _:
                raise ProtocolError(f"{frames.NAMES[frame.kind]} is never sent by the host")
        self._progress(stream)

    def _require_past(self, frame: Frame) -> None:
        """Let a frame pass that crossed our answer on its way; refuse one for a stream that never was."""
        if frame.stream % 2 == 0 or frame.stream > self._newest or frame.kind in (frames.RESULT, frames.FAIL):
            raise ProtocolError(
                f"{frames.NAMES[frame.kind]} on stream `{frame.stream}`, which was not opened"
            )

    def _open(self, frame: Frame) -> None:
        if frame.stream % 2 == 0 or frame.stream <= self._newest:
            raise ProtocolError(
                f"OPEN of stream `{frame.stream}`; expected an odd number above {self._newest}"
            )
        self._newest = frame.stream
        values = decode_object(frame.payload)
        try:
            stream = self._admit(frame, values)
        except RefusedError as refusal:
            self._answer(frame.stream, frames.FAIL, {"code": refusal.code, "message": refusal.message})
            return
        self._live[stream.number] = stream
        self._queued.append(stream)
        self._start_queued()

    def _admit(self, frame: Frame, values: Object) -> Stream:
        operation = values.get("op")
        if not isinstance(operation, str) or operation not in OPERATIONS:
            raise RefusedError("unknown-op", "the guest has no such operation")
        if operation == _PROGRAM and not self._holds_exec:
            raise RefusedError("no-exec", "`process.spawn` needs a session that holds `exec`")
        programs = sum(stream.operation == _PROGRAM for stream in self._live.values())
        if len(self._live) >= MAX_STREAMS or (operation == _PROGRAM and programs >= MAX_PROGRAMS):
            raise RefusedError("busy", f"`{len(self._live)}` operations are running already")
        most = program.MAX_TIMEOUT_SECONDS if operation == _PROGRAM else MAX_SECONDS
        known = frozenset(values)
        seconds = Arguments(values, known).seconds("timeout_seconds", default=DEFAULT_SECONDS, most=most)
        stream = Stream(frame.stream, operation, frame.payload, seconds)
        if operation == _PROGRAM:
            stream.output_bytes = Arguments(values, known).number(
                "output_bytes", default=program.DEFAULT_OUTPUT_BYTES, most=program.MAX_OUTPUT_BYTES
            )
        return stream

    def _cancel(self, stream: Stream) -> None:
        stream.cancelled = True
        stream.outlet.drop()
        if stream.worker is None and stream.outcome is None:
            stream.outcome = (frames.FAIL, _CANCELLED)
        self._interrupt(stream)

    # ---- to and from workers

    def start_waiting(self) -> None:
        """Try again to find workers for requests that wait."""
        self._start_queued()

    def _start_queued(self) -> None:
        waiting, self._queued = self._queued, []
        for stream in waiting:
            if stream.outcome is not None or self._live.get(stream.number) is not stream:
                continue
            if not self._start(stream):
                self._queued.append(stream)

    def _start(self, stream: Stream) -> bool:
        is_program = stream.operation == _PROGRAM
        if not is_program and self._file_workers() >= MAX_FILE_WORKERS:
            return False
        worker = self._pool.lend(reserve=1 if is_program else 0)
        if worker is None:
            if is_program:
                self._finish_early(
                    stream, RefusedError("busy", "no process could be made for the program's keeper")
                )
            return is_program
        descriptors: list[int] = []
        if is_program:
            stream.pipes = Pipes(stream.output_bytes)
            descriptors = stream.pipes.child_ends
        stream.worker = worker
        stream.deadline = time.monotonic() + stream.seconds
        try:
            worker.give(stream.number, stream.payload, descriptors)
        except EOFError:
            self._worker_died(worker)
            return True
        stream.payload = b""
        if stream.pipes is not None:
            stream.pipes.close_child_ends()
        self._progress(stream)
        return True

    def _file_workers(self) -> int:
        return sum(stream.worker is not None and stream.pipes is None for stream in self._live.values())

    def attend(self, worker: Worker) -> None:
        """Watch a worker's socket."""
        stream = self._live.get(worker.stream)
        open_to_read = stream is None or (
            self._link.has_room and (stream.outlet.is_empty or stream.is_discarding)
        )
        interest = (READ if open_to_read else 0) | (WRITE if worker.wire.queued_bytes else 0)
        self._watch.want(worker.wire.source, interest, lambda _: self._worker_ready(worker))

    def _worker_ready(self, worker: Worker) -> None:
        try:
            worker.wire.flush()
            received = worker.wire.receive()
            for frame in received:
                self._from_worker(worker, frame)
        except (EOFError, ProtocolError):
            self._worker_died(worker)
            return
        stream = self._live.get(worker.stream)
        if stream is not None:
            self._progress(stream)
        self.attend(worker)

    def _from_worker(self, worker: Worker, frame: Frame) -> None:
        stream = self._live.get(frame.stream)
        if stream is None or stream.worker is not worker:
            raise ProtocolError("a worker spoke for a stream that is not its own")
        if frame.kind == frames.BODY and stream.pipes is None:
            if not stream.is_discarding:
                stream.outlet.put(frames.BODY, frame.payload)
            return
        if frame.kind not in (frames.RESULT, frames.FAIL):
            raise ProtocolError("a worker sent a frame that workers do not send")
        outcome = (frame.kind, decode_object(frame.payload))
        stream.worker = None
        self._pool.take_back(worker)
        self._end_work(stream, outcome)
        self._progress(stream)
        self._start_queued()

    def _worker_died(self, worker: Worker) -> None:
        stream = self._live.get(worker.stream)
        self._watch.forget(worker.wire.source)
        self._pool.discard(worker)
        if stream is None or stream.worker is not worker:
            return
        stream.worker = None
        self._end_work(stream, (frames.FAIL, _LOST), lost=True)
        self._progress(stream)

    def _end_work(self, stream: Stream, outcome: tuple[int, Object], *, lost: bool = False) -> None:
        if stream.cancelled:
            outcome = (frames.FAIL, _CANCELLED)
        elif stream.timed_out and (stream.pipes is None or outcome[0] == frames.FAIL):
            outcome = (frames.FAIL, _timed_out(stream.seconds))
        stream.outcome = outcome
        stream.deadline = stream.kill_at = None
        if stream.pipes is not None:
            self._plumbing.forget_input(stream.pipes)
            self._program_ended(lost)

    def _finish_early(self, stream: Stream, refusal: RefusedError) -> None:
        stream.outcome = (frames.FAIL, {"code": refusal.code, "message": refusal.message})
        self._progress(stream)

    # ---- moving bytes

    def progress_all(self) -> None:
        """Move what can move on every stream: the link has room again."""
        for stream in list(self._live.values()):
            self._progress(stream)

    def _progress(self, stream: Stream) -> None:
        self._pass_on_input(stream)
        stream.outlet.pump(self._link)
        if stream.pipes is not None:
            self._plumbing.watch_outputs(stream, stream.pipes)
        if stream.worker is not None:
            self.attend(stream.worker)
        if stream.outcome is not None and self._is_drained(stream):
            self._close(stream)

    def _pass_on_input(self, stream: Stream) -> None:
        if stream.outcome is not None or stream.cancelled:
            while not stream.inlet.is_empty:
                stream.inlet.taken(len(stream.inlet.peek()), self._link)
        elif stream.pipes is not None:
            self._plumbing.feed(stream, stream.pipes)
        elif stream.worker is not None:
            self._feed_worker(stream, stream.worker)

    def _feed_worker(self, stream: Stream, worker: Worker) -> None:
        # INVARIANT: what stays in the inlet has a full queue before it, so that room in the socket wakes us.
        while not stream.inlet.is_empty and worker.wire.queued_bytes < _FEED_BYTES:
            data = stream.inlet.peek()[:_FEED_BYTES]
            worker.wire.send(frames.BODY, stream.number, data)
            _flush(worker)
            stream.inlet.taken(len(data), self._link)
        if stream.inlet.ended and stream.inlet.is_empty and not stream.end_passed_on:
            stream.end_passed_on = True
            worker.wire.send(frames.END, stream.number)
            _flush(worker)

    # ---- ending

    def _is_drained(self, stream: Stream) -> bool:
        """Say whether nothing more can come."""
        if stream.cancelled:
            return True
        return self._plumbing.is_dry(stream) and stream.outlet.is_empty

    def _close(self, stream: Stream) -> None:
        if stream.outcome is None or self._live.get(stream.number) is not stream:
            return
        del self._live[stream.number]
        kind, values = stream.outcome
        if stream.pipes is not None:
            self._plumbing.remove(stream.pipes)
            if kind == frames.RESULT:
                values = {
                    **values,
                    "timed_out": stream.timed_out,
                    "truncated_bytes": stream.pipes.truncated_bytes,
                }
        self._answer(stream.number, kind, values)

    def _answer(self, number: int, kind: int, values: Object) -> None:
        self._link.send(kind, number, encode_object(values))

    def _interrupt(self, stream: Stream) -> None:
        """Ask the worker to stop; `enforce` kills it when it does not."""
        if stream.worker is None or stream.kill_at is not None:
            return
        grace = PROGRAM_GRACE_SECONDS if stream.pipes is not None else CANCEL_GRACE_SECONDS
        stream.kill_at = time.monotonic() + grace
        stream.worker.wire.send(frames.CANCEL, stream.number)
        _flush(stream.worker)

    def enforce(self, now: float) -> None:
        """End what has run beyond its time."""
        for stream in list(self._live.values()):
            wakes_at = stream.wakes_at
            if wakes_at is None or now < wakes_at:
                continue
            if stream.kill_at is None:
                stream.timed_out = True
                if stream.is_discarding:
                    stream.outlet.drop()
                self._interrupt(stream)
                self._progress(stream)
            elif stream.worker is not None:
                self._worker_died(stream.worker)

    def next_deadline(self) -> float | None:
        """Return when `enforce` has something to do, in seconds of the monotonic clock."""
        times = [stream.wakes_at for stream in self._live.values() if stream.wakes_at is not None]
        return min(times, default=None)

    @property
    def is_waiting(self) -> bool:
        """Tell whether a request waits for a worker."""
        return bool(self._queued)


_CANCELLED: Object = {"code": "cancelled", "message": "the operation was cancelled"}
_LOST: Object = {"code": "lost", "message": "the process that did the operation was ended"}


def _timed_out(seconds: float) -> Object:
    return {"code": "timeout", "message": f"the operation took longer than `{seconds}` seconds"}


def _flush(worker: Worker) -> None:
    """Write what a worker takes; one that has died is noticed by reading, with what it still had to say."""
    try:
        worker.wire.flush()
    except EOFError:
        return
