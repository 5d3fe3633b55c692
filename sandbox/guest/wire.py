"""Send and receive frames over two descriptors without ever blocking."""

from __future__ import annotations

import os

from . import frames
from .frames import Decoder, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque

    from .frames import Frame
    from .seal import Seal
else:
    from _collections import deque

RECEIVE_BYTES = 128 * 1024
CONGESTED_BYTES = 1 << 20
_VECTORS = 64
_COPIED_BYTES = 4096  # a payload from here on is queued as it is, beside its header


class Wire:
    """Two non-blocking descriptors and what waits to be written.

    Args:
        source: is read; must be non-blocking.
        sink: is written; must be non-blocking; may be the same.
    """

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = sink
        self._decoder = Decoder()
        self._queue: deque[bytes | memoryview] = deque()
        self._seal: Seal | None = None
        self.queued_bytes = 0

    def seal(self) -> None:
        """Choose a key, tell it to the host, and seal every frame from here on, each way.

        INVARIANT: this is called before any program runs, and leaves no copy of the key but in the seals.

        Raises:
            EOFError: when the host has closed.
            ProtocolError: when it has spoken already, or does not take the key.
        """
        from .seal import FROM_GUEST, FROM_HOST, Seal, fresh_key  # noqa: PLC0415 (only where it is needed)

        key = fresh_key()
        self._queue.append(frames.HEADER.pack(len(key), frames.SEAL, 0))
        self._queue.append(memoryview(key))
        self.queued_bytes += frames.HEADER.size + len(key)
        self.flush()
        if self._queue:
            raise ProtocolError("the host does not take the key")
        self._seal = Seal(key, FROM_GUEST)
        self._decoder.seal(Seal(key, FROM_HOST))
        key[:] = bytes(len(key))

    def forget(self) -> None:
        """Drop the seals, in a forked child: it must not be able to speak for this process."""
        self._seal = None
        self._decoder.forget()

    def receive(self) -> list[Frame]:
        """Return the frames that have come; none when nothing was there.

        Raises:
            EOFError: when the other side has closed.
            ProtocolError: when it broke a rule of the coding.
        """
        try:
            data = os.read(self.source, RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        return self._decoder.feed(data)

    @property
    def has_room(self) -> bool:
        """Tell whether more may be queued; what produces bytes waits while it may not."""
        return self.queued_bytes < CONGESTED_BYTES

    @property
    def queued_pieces(self) -> int:
        """Return how many pieces wait; many small ones take more memory than their bytes."""
        return len(self._queue)

    def send(self, kind: int, stream: int, payload: bytes | memoryview = b"") -> None:
        """Queue one frame; `flush` writes."""
        head = frames.head(kind, stream, payload, self._seal)
        if len(payload) < _COPIED_BYTES:
            self._queue.append(head + payload)
        else:
            self._queue.append(head)
            self._queue.append(payload)
        self.queued_bytes += len(head) + len(payload)

    def first(self) -> bytes | memoryview:
        """Return the first piece that waits, for the caller to send; `sent` is told how much of it went."""
        return self._queue[0]

    def sent(self, count: int) -> None:
        """Take the first `count` bytes out of the queue."""
        self.queued_bytes -= count
        while count:
            head = self._queue.popleft()
            if len(head) > count:
                self._queue.appendleft(memoryview(head)[count:])
                return
            count -= len(head)

    def flush(self) -> None:
        """Write as much as the other side takes now.

        Raises:
            EOFError: when the other side has closed.
        """
        queue = self._queue
        while queue:
            try:
                if len(queue) == 1:
                    written = os.write(self.sink, queue[0])
                else:
                    written = os.writev(self.sink, [queue[at] for at in range(min(len(queue), _VECTORS))])
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                raise EOFError from error
            self.sent(written)
