"""Speak with PID 1 from inside a worker: one request at a time, over one socket."""

from __future__ import annotations

import _socket
import os
import select
from struct import iter_unpack

from . import frames
from .frames import Decoder, Frame
from .objects import decode_object, encode_object
from .refusal import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .objects import Object

CHUNK_BYTES = 64 * 1024
_HELD_BYTES = 16 * 1024
_DESCRIPTORS = 3
_CLOSE_ON_EXEC = 0x40000000  # MSG_CMSG_CLOEXEC, linux/socket.h: no name in Python
_ANCILLARY_BYTES = _socket.CMSG_SPACE(_DESCRIPTORS * 4)


class Channel:
    """The worker's end of its socket to PID 1. It blocks: a worker has nothing else to do."""

    def __init__(self, wire: _socket.socket) -> None:
        self._wire = wire
        self._decoder = Decoder()
        self._waiting: list[Frame] = []
        self._held = b""
        self.descriptors: list[int] = []

    def fileno(self) -> int:
        """Return the socket's descriptor, for poll."""
        return self._wire.fileno()

    @property
    def has_frame(self) -> bool:
        """Tell whether `receive` would return at once, or begin to."""
        poller = select.poll()
        poller.register(self._wire.fileno(), select.POLLIN)
        return bool(self._waiting) or bool(poller.poll(0))

    def receive(self) -> Frame:
        """Return the next frame; descriptors that came with it are added to `descriptors`.

        Raises:
            EOFError: when PID 1 has gone.
        """
        while not self._waiting:
            data, ancillary, _, _ = self._wire.recvmsg(2 * CHUNK_BYTES, _ANCILLARY_BYTES, _CLOSE_ON_EXEC)
            if not data:
                raise EOFError
            for level, kind, content in ancillary:
                if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                    self.descriptors += [number for (number,) in iter_unpack("=i", content)]
            self._waiting = self._decoder.feed(data)
        return self._waiting.pop(0)

    def send(self, kind: int, stream: int, payload: bytes = b"", *, soon: bool = False) -> None:
        """Send one frame, whole; one that another follows `soon` may wait for that one."""
        encoded = self._held + frames.encode(kind, stream, payload)
        if soon and len(encoded) <= _HELD_BYTES:
            self._held = encoded
            return
        self._held = b""
        data = memoryview(encoded)
        while data:
            data = data[self._wire.send(data) :]

    def take_descriptors(self) -> list[int]:
        """Return the descriptors that came, and forget them."""
        taken, self.descriptors = self.descriptors, []
        return taken


class Task:
    """One request, as an operation sees it.

    Args:
        channel: to PID 1.
        stream: the stream of the request.
        values: the arguments.
    """

    def __init__(self, channel: Channel, stream: int, values: Object) -> None:
        self.channel = channel
        self.stream = stream
        self.values = values
        self._ended = False

    def send_body(self, data: bytes) -> None:
        """Send part of the result's body, at most `CHUNK_BYTES`."""
        if data:
            self.channel.send(frames.BODY, self.stream, data, soon=True)

    def receive_body(self) -> bytes:
        """Return the next part of the request's body; empty when it has ended.

        Raises:
            RefusedError: code `cancelled` when the host does not want it any more.
        """
        while not self._ended:
            frame = self.channel.receive()
            if frame.stream != self.stream:
                continue
            if frame.kind == frames.BODY:
                return frame.payload
            self._ended = frame.kind == frames.END
            if frame.kind == frames.CANCEL:
                raise RefusedError("cancelled", "the operation was cancelled")
        return b""

    def require_wanted(self) -> None:
        """Look, between two steps of long work after the body, whether the result is still wanted.

        Raises:
            RefusedError: code `cancelled` when the host does not want it any more.
        """
        while self.channel.has_frame:
            frame = self.channel.receive()
            if (frame.stream, frame.kind) == (self.stream, frames.CANCEL):
                raise RefusedError("cancelled", "the operation was cancelled")

    def finish(self, result: Object) -> None:
        """Send the outcome of an operation that was done."""
        self.channel.send(frames.RESULT, self.stream, encode_object(result))

    def fail(self, refusal: RefusedError) -> None:
        """Send the reason of an operation that was not done."""
        values: Object = {"code": refusal.code, "message": refusal.message}
        self.channel.send(frames.FAIL, self.stream, encode_object(values))


def next_task(channel: Channel) -> Task:
    """Wait for the next request; what is left of an earlier one is dropped.

    Raises:
        EOFError: when PID 1 has gone.
    """
    while True:
        frame = channel.receive()
        if frame.kind == frames.OPEN:
            return Task(channel, frame.stream, decode_object(frame.payload))
        for descriptor in channel.take_descriptors():
            os.close(descriptor)
