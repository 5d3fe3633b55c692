"""Carry the streams of one link: take requests, lend workers, answer, end what overruns.

Everything here returns at once. What comes from the host and breaks a rule raises ProtocolError and ends the
guest; what comes from a worker and breaks one costs that worker its life and its stream a FAIL.
"""

from __future__ import annotations

import time

from . import frames, program
from .admission import Admission
from .frames import Frame, ProtocolError
from .lending import Lending
from .objects import decode_object, encode_object
from .plumbing import Plumbing
from .refusal import RefusedError
from .stream import CANCELLED, LOST, Outcome, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .objects import Object
    from .pool import Pool
    from .watch import Watch
    from .wire import Wire

NEVER = float("inf")
CANCEL_GRACE_SECONDS = 0.5
PROGRAM_GRACE_SECONDS = program.GRACE_SECONDS + program.GIVE_UP_SECONDS + 1.0


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
        self._admission = Admission(holds_exec=holds_exec)
        self._program_ended = ended
        self._live: dict[int, Stream] = {}
        self._touched: dict[int, Stream] = {}
        self._plumbing = Plumbing(link, watch, self._touched)
        self.lending = Lending(link, watch, pool, self._live, touched=self._touched, done=self._work_done)
        self._newest = -1
        self.wakes_at = NEVER
        """Until when `enforce` has nothing to do, in seconds of the monotonic clock."""

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
        self._touched[frame.stream] = stream

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
            stream = self._admission.admit(frame, values, self._live.values())
        except RefusedError as refusal:
            reason: Object = {"code": refusal.code, "message": refusal.message}
            self._link.send(frames.FAIL, frame.stream, encode_object(reason))
            return
        self._live[stream.number] = stream
        self.lending.queue(stream)

    def _cancel(self, stream: Stream) -> None:
        stream.cancelled = True
        stream.outlet.drop()
        if stream.worker is None and stream.outcome is None:
            stream.outcome = Outcome(frames.FAIL, CANCELLED)
        self._interrupt(stream)

    # ---- moving bytes

    def touch_all(self) -> None:
        """Have every stream looked at: the link has room again."""
        self._touched.update(self._live)

    def progress(self) -> None:
        """Begin what waits, and move what can move on every stream to which something happened.

        Once for all that came together: a request and the end of its body are one write to its worker.
        """
        self.lending.start_waiting()
        while self._touched:
            self._progress(self._touched.popitem()[1])

    def _progress(self, stream: Stream) -> None:
        self._pass_on_input(stream)
        stream.outlet.pump(self._link)
        if stream.pipes is not None:
            self._plumbing.watch_outputs(stream, stream.pipes)
        if stream.worker is not None:
            self.lending.attend(stream.worker)
        if stream.outcome is not None and self._is_drained(stream):
            self._close(stream)
        elif (wakes_at := stream.wakes_at) is not None and wakes_at < self.wakes_at:
            self.wakes_at = wakes_at

    def _pass_on_input(self, stream: Stream) -> None:
        if stream.outcome is not None or stream.cancelled:
            while not stream.inlet.is_empty:
                stream.inlet.taken(len(stream.inlet.peek()), self._link)
        elif stream.pipes is not None:
            self._plumbing.feed(stream, stream.pipes)
        elif stream.worker is not None:
            self.lending.feed(stream, stream.worker)

    # ---- ending

    def _work_done(self, stream: Stream, lost: bool) -> None:  # noqa: FBT001 (the callback's one fact)
        """Take note that a stream's worker has ended its work, or was lost with it."""
        if stream.pipes is not None:
            self._plumbing.forget_input(stream.pipes)
            self._program_ended(lost)
        self._touched[stream.number] = stream

    def _is_drained(self, stream: Stream) -> bool:
        """Say whether nothing more can come."""
        if stream.cancelled:
            return True
        return self._plumbing.is_dry(stream) and stream.outlet.is_empty

    def _close(self, stream: Stream) -> None:
        if stream.outcome is None or self._live.get(stream.number) is not stream:
            return
        del self._live[stream.number]
        more: Object | None = None
        if stream.pipes is not None:
            self._plumbing.remove(stream.pipes)
            if stream.outcome.kind == frames.RESULT:
                more = {"timed_out": stream.timed_out, "truncated_bytes": stream.pipes.truncated_bytes}
        kind, payload = stream.outcome.kind, stream.outcome.coded(more)
        if len(payload) > frames.MAX_PAYLOAD_BYTES:  # a worker that was taken over fills the frame to its end
            kind, payload = frames.FAIL, encode_object(LOST)
        self._link.send(kind, stream.number, payload)

    def _interrupt(self, stream: Stream) -> None:
        """Ask the worker to stop; `enforce` kills it when it does not."""
        if stream.worker is None or stream.kill_at is not None:
            return
        grace = PROGRAM_GRACE_SECONDS if stream.pipes is not None else CANCEL_GRACE_SECONDS
        stream.kill_at = time.monotonic() + grace
        stream.worker.tell(frames.CANCEL, stream.number)

    def enforce(self, now: float) -> None:
        """End what has run beyond its time."""
        if now < self.wakes_at:
            return
        self.wakes_at = NEVER
        for stream in list(self._live.values()):
            wakes_at = stream.wakes_at
            if wakes_at is None:
                continue
            if now < wakes_at:
                self.wakes_at = min(self.wakes_at, wakes_at)
                continue
            self._touched[stream.number] = stream
            if stream.kill_at is None:
                stream.timed_out = True
                if stream.is_discarding:
                    stream.outlet.drop()
                self._interrupt(stream)
            elif stream.worker is not None:
                self.lending.died(stream.worker)
