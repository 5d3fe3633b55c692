"""Send and receive frames over two descriptors without ever blocking."""

from __future__ import annotations

import os

from . import frames
from .frames import Decoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque

    from .frames import Frame
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
        self.queued_bytes = 0

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
        if len(payload) < _COPIED_BYTES:
            self._queue.append(frames.encode(kind, stream, payload))
        else:
            frames.check_header(len(payload), kind, stream)
            self._queue.append(frames.HEADER.pack(len(payload), kind, stream))
            self._queue.append(payload)
        self.queued_bytes += frames.HEADER.size + len(payload)

    def take(self, count: int) -> bytes:
        """Take the first `count` bytes out of the queue, which holds as many, for the caller to send."""
        head = memoryview(self._queue.popleft())
        self._queue.appendleft(head[count:])
        self.queued_bytes -= count
        return bytes(head[:count])

    def flush(self) -> None:
        """Write as much as the other side takes now.

        Raises:
            EOFError: when the other side has closed.
        """
        queue = self._queue
        while queue:
            try:
                written = os.writev(self.sink, [queue[at] for at in range(min(len(queue), _VECTORS))])
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                raise EOFError from error
            self.queued_bytes -= written
            while written:
                head = queue.popleft()
                if len(head) > written:
                    queue.appendleft(memoryview(head)[written:])
                    break
                written -= len(head)
