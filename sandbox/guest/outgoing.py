"""Pass frames between the link and the process that carries loopback connections. PID 1's side.

What that process sends is hostile data, as a worker's is: it may speak on streams of its own only. One that
breaks a rule, dies or is stopped by a program is replaced, and its connections are reset.
"""

from __future__ import annotations

import _socket
import os
import time

from . import descendants, frames, loopback, signals
from .frames import Frame, ProtocolError
from .pool import WAKES
from .watch import READ, WRITE
from .wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .watch import Watch

REST_SECONDS = 0.1  # after it died: something kills it, and must not make the guest fork all day
MOST_PIECES = 32_768
_FROM_CARRIER = (frames.BODY, frames.END, frames.CREDIT, frames.CANCEL)


class Outgoing:
    """The streams that the guest opens.

    Args:
        link: to the host.
        doors: the listening sockets; PID 1 keeps them, so that no program can take their place.
    """

    def __init__(self, link: Wire, doors: list[_socket.socket]) -> None:
        self._link = link
        self._doors = doors
        self._watch: Watch | None = None
        self._socket: _socket.socket | None = None
        self._wire: Wire | None = None
        self._live: set[int] = set()
        self._cancelled: set[int] = set()
        self._newest = 0
        self._rests_until = 0.0
        self._wakes_left = 0
        self.process = 0  # 0: there is none

    @property
    def lacks(self) -> bool:
        """Tell whether the process is missing, and the host has done with the streams of the one before."""
        return self._wire is None and not self._live and time.monotonic() >= self._rests_until

    def fill(self) -> None:
        """Fork the process when it is missing; called before work begins, and when there is nothing to do."""
        if not self.lacks:
            return
        try:
            ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        except OSError:  # no descriptors left: later perhaps
            self._rests_until = time.monotonic() + REST_SECONDS
            return
        try:
            process = os.fork()
        except OSError:  # the limit of processes, or of memory: the same
            ours.close()
            theirs.close()
            self._rests_until = time.monotonic() + REST_SECONDS
            return
        if process == 0:
            self._link.forget()
            loopback.live(theirs, self._doors, self._newest + 2)
        theirs.close()
        ours.setblocking(False)  # noqa: FBT003 (C, positional)
        self._socket, self._wire, self.process = ours, Wire(ours.fileno(), ours.fileno()), process
        self._wakes_left = WAKES
        self.attend()

    def watched_by(self, watch: Watch) -> None:
        """Take note of the loop's descriptors."""
        self._watch = watch
        self.attend()

    def attend(self) -> None:
        """Watch the process's socket; what it reads from its clients waits while the link is full."""
        if self._watch is None or self._wire is None:
            return
        interest = (READ if self._link.has_room else 0) | (WRITE if self._wire.queued_bytes else 0)
        self._watch.want(self._wire.source, interest, lambda _: self._ready())

    def stopped(self) -> None:
        """Wake the process, which a program has stopped; one that is stopped again and again is replaced."""
        self._wakes_left -= 1
        if self._wakes_left >= 0:
            descendants.send(signals.CONTINUE, self.process)
        else:
            self._lose()

    # ---- from the host

    def take(self, frame: Frame) -> None:
        """Pass on one frame of the host's.

        Raises:
            ProtocolError: when the host broke a rule.
        """
        if frame.stream not in self._live:
            raise ProtocolError(f"{frames.NAMES[frame.kind]} on stream `{frame.stream}`, which is not open")
        if frame.kind in (frames.RESULT, frames.FAIL):
            self._live.discard(frame.stream)
            self._cancelled.discard(frame.stream)
        elif frame.kind not in (frames.BODY, frames.END, frames.CREDIT):
            raise ProtocolError(f"{frames.NAMES[frame.kind]} is never sent by the host on such a stream")
        if self._wire is None:
            return  # who opened the stream is gone; the host has been told
        self._wire.send(frame.kind, frame.stream, frame.payload)
        self._flush(self._wire)

    def _flush(self, wire: Wire) -> None:
        try:
            wire.flush()
        except EOFError:
            self._lose()
            return
        if wire.queued_pieces > MOST_PIECES:  # it was stopped: credit bounds the bytes, this their number
            self._lose()
            return
        self.attend()

    # ---- from the process

    def _ready(self) -> None:
        wire = self._wire
        if wire is None:
            return
        try:
            wire.flush()
            for frame in wire.receive():
                self._pass_on(frame)
        except (EOFError, ProtocolError):
            self._lose()
            return
        self.attend()

    def _pass_on(self, frame: Frame) -> None:
        number = frame.stream
        if frame.kind == frames.OPEN:
            if number != self._newest + 2 or len(self._live) >= frames.MAX_CONNECTIONS:
                raise ProtocolError("an OPEN that is not the next")
            self._newest = number
            self._live.add(number)
        elif frame.kind not in _FROM_CARRIER or not 0 < number <= self._newest or number % 2:
            raise ProtocolError("a frame that this process does not send")
        elif number not in self._live or number in self._cancelled:
            return  # it crossed the host's answer on its way
        elif frame.kind == frames.CANCEL:
            self._cancelled.add(number)
        self._link.send(frame.kind, number, frame.payload)

    def _lose(self) -> None:
        """Make an end with the process, and tell the host that its connections are gone."""
        if self._socket is None or self._wire is None:
            return
        if self._watch is not None:
            self._watch.forget(self._wire.source)
        self._socket.close()
        descendants.send(signals.KILL, self.process)
        self._socket, self._wire, self.process = None, None, 0
        self._rests_until = time.monotonic() + REST_SECONDS
        for number in sorted(self._live - self._cancelled):
            self._link.send(frames.CANCEL, number)
            self._cancelled.add(number)
