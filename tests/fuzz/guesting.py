"""Drive the guest's streams with anything, from the host and from workers; only the forks are left out.

Workers are sockets that the driver holds the other ends of: what it writes there is what a worker that was
taken over would write.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final

from sandbox.guest import frames
from sandbox.guest.admission import MAX_STREAMS
from sandbox.guest.beneath import Beneath
from sandbox.guest.frames import Decoder, ProtocolError
from sandbox.guest.objects import encode_object
from sandbox.guest.pool import Pool, Worker
from sandbox.guest.serve import LINK_FULL_BYTES
from sandbox.guest.streams import Streams
from sandbox.guest.watch import WRITE, Watch
from sandbox.guest.wire import Wire

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from sandbox.guest.objects import Object

NOBODYS: Final = 1 << 23
"""Above every process id that Linux gives (PID_MAX_LIMIT is 2**22): killing one harms nobody."""
MOST_OUT_BYTES: Final = 512 * 1024
"""What one turn may take from a worker that is not held back yet, and what a dead one leaves."""
_PROGRAM: Final[Object] = {"op": "process.spawn", "argv": ["x"], "cwd": ".", "output_bytes": 1000}
PAYLOADS: Final = (
    encode_object({"op": "files.stat", "path": "a"}),
    encode_object({"op": "files.write", "path": "a", "timeout_seconds": 0.01}),
    encode_object(_PROGRAM),
    encode_object({**_PROGRAM, "timeout_seconds": "soon"}),
    b"{}", b"[]", b"", b"\xff", b"\0\0\0\1", b"\xff\xff\xff\xff", bytes(4), bytes(2000), bytes(200_000),
    b'{"code":"lost","message":"gone"}', b'{"op":1}',
)  # fmt: skip


class Playing(Pool):
    """A pool whose workers are sockets."""

    def __init__(self) -> None:
        self.root = Beneath("/")
        super().__init__(self.root, forget=lambda: None)
        self.ends: dict[int, socket.socket] = {}
        self._rests_until = 0.0

    def _fork(self) -> Worker | None:
        if len(self._all) >= 20:
            return None
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        theirs.settimeout(0)
        worker = Worker(NOBODYS + len(self.ends), ours)
        self.ends[worker.process] = theirs
        self._all[worker.process] = worker
        return worker


class Guesting:
    """A greeted guest, without its loop."""

    def __init__(self) -> None:
        self._host, ours = socket.socketpair()
        self._ours = ours
        for end in (self._host, ours):
            end.settimeout(0)
        self.link = Wire(ours.fileno(), ours.fileno())
        self.watch = Watch()
        self.pool = Playing()
        self.streams = Streams(self.link, self.watch, self.pool, holds_exec=True, ended=lambda _lost: None)
        self.credit: dict[int, int] = {}
        self.answered: set[int] = set()
        self.lost = False
        self._decoder = Decoder()
        self._ear = Decoder()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every descriptor, those of programs' pipes included."""
        for stream in self.streams._live.values():
            if stream.pipes is not None:
                stream.pipes.close()
        for worker in self.pool:
            worker.close()
        for end in [*self.pool.ends.values(), self._host, self._ours]:
            end.close()
        os.close(self.pool.root.root)
        self.watch._poller.close()

    # ---- what happens to it

    def hears(self, data: bytes) -> None:
        """Take bytes of the host's, as the loop does: not while the host does not read."""
        if self.lost or self.link.queued_bytes >= LINK_FULL_BYTES:
            return
        try:
            for frame in self._decoder.feed(data):
                self._take(frame)
            self.streams.progress()
        except ProtocolError:
            self.lost = True
        self.check()

    def _take(self, frame: frames.Frame) -> None:
        if frame.kind == frames.OPEN:
            self.credit.setdefault(frame.stream, frames.INITIAL_CREDIT_BYTES)
        elif frame.kind == frames.CREDIT:
            self.credit[frame.stream] = self.credit.get(frame.stream, 0) + frames.credit_of(frame)
        self.streams.take(frame)

    def worker_says(self, which: int, data: bytes) -> None:
        """Write to PID 1 as a worker, or hang up with no bytes at all."""
        ends = list(self.pool.ends.values())
        if not ends:
            return
        end = ends[which % len(ends)]
        try:
            end.send(data) if data else end.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def worker_answers(self, which: int, *, dies: bool = False) -> None:
        """Answer as a worker that does its work would."""
        busy = [worker for worker in self.pool if worker.stream]
        if busy:
            worker = busy[which % len(busy)]
            self._read(self.pool.ends[worker.process])
            self.worker_frame(worker, frames.RESULT, b'{"exit_code":0}')
            if dies:
                self.pool.ends[worker.process].close()

    def worker_frame(self, worker: Worker, kind: int, payload: bytes) -> None:
        """Send a frame of a worker's own stream."""
        self.worker_says_as(worker, kind, worker.stream, payload)

    def worker_says_as(self, worker: Worker, kind: int, stream: int, payload: bytes) -> None:
        """Send a frame of any stream."""
        whole = frames.HEADER.pack(len(payload), kind, stream) + payload
        try:
            self.pool.ends[worker.process].send(whole)
        except OSError:
            return

    def turns(self, *, later_seconds: float = 0.0) -> None:
        """Do what the loop does in one turn."""
        if self.lost:
            return
        self.watch.want(self.link.sink, WRITE if self.link.queued_bytes else 0, lambda _: self._writable())
        self.watch.wait(0)
        self.streams.enforce(time.monotonic() + later_seconds)
        made = self.pool.fill()
        if made is not None:
            self.streams.lending.attend(made)
        self.streams.progress()
        self.link.flush()
        self.check()

    def _writable(self) -> None:
        self.link.flush()
        self.streams.touch_all()

    def signalled(self, which: int, *, dead: bool) -> None:
        """Find that a program stopped a worker, or that one has died."""
        workers = list(self.pool)
        if not workers or self.lost:
            return
        worker = workers[which % len(workers)]
        (self.streams.lending.buried if dead else self.streams.lending.stopped)(worker)
        self.streams.progress()
        assert not dead or worker not in self.pool
        self.check()

    # ---- what it says

    def host_reads(self) -> None:
        """Read what the guest says, and hold it to the host's credit and to one answer for each stream."""
        data = self._read(self._host)
        for frame in self._ear.feed(data):
            if frame.kind in (frames.BODY, frames.ERRORS):
                assert b"forged" not in frame.payload
                assert frame.stream not in self.answered
                self.credit[frame.stream] -= len(frame.payload)
                assert self.credit[frame.stream] >= 0
            elif frame.kind in (frames.RESULT, frames.FAIL):
                assert frame.stream not in self.answered
                assert b"forged" not in frame.payload
                self.answered.add(frame.stream)
            else:
                assert frame.kind == frames.CREDIT

    @staticmethod
    def _read(end: socket.socket) -> bytes:
        pieces = []
        try:
            while data := end.recv(1 << 20):
                pieces.append(data)
        except OSError:
            pass
        return b"".join(pieces)

    def check(self) -> None:
        """Hold what is kept to its bounds."""
        live = self.streams._live
        assert len(live) <= MAX_STREAMS
        assert self._decoder.held_bytes <= frames.MAX_PAYLOAD_BYTES + frames.HEADER.size
        for stream in live.values():
            into = sum(len(piece) for piece in stream.inlet._waiting)
            out = sum(len(piece) for _, piece in stream.outlet._waiting)
            assert into <= frames.INITIAL_CREDIT_BYTES
            assert stream.inlet._credit >= 0
            assert out <= MOST_OUT_BYTES
        assert self.link.queued_bytes <= LINK_FULL_BYTES + (2 << 20)
