"""Remember one stream: what the host may still send, what may still be sent to it, and who works for it."""

from __future__ import annotations

from . import frames
from .frames import ProtocolError
from .objects import encode_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque

    from .objects import Object
    from .plumbing import Pipes
    from .pool import Worker
    from .wire import Wire
else:
    from _collections import deque

CREDIT_STEP_BYTES = 64 * 1024
CANCELLED: Object = {"code": "cancelled", "message": "the operation was cancelled"}
LOST: Object = {"code": "lost", "message": "the process that did the operation was ended"}


class Outcome:
    """How an operation ended.

    Args:
        kind: RESULT or FAIL.
        values: what is said of it.
        payload: the same, coded; None when that is still to be done.
    """

    __slots__ = ("kind", "payload", "values")

    def __init__(self, kind: int, values: Object, payload: bytes | None = None) -> None:
        self.kind = kind
        self.values = values
        self.payload = payload

    def coded(self, more: Object | None = None) -> bytes:
        """Return the frame's payload.

        Args:
            more: what PID 1 has to say beside what the worker said.
        """
        if more:
            return encode_object({**self.values, **more})
        return encode_object(self.values) if self.payload is None else self.payload


class Outlet:
    """Body bytes on their way to the host, held until it has given credit for them."""

    __slots__ = ("_credit", "_stream", "_waiting")

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._credit = frames.INITIAL_CREDIT_BYTES
        self._waiting: deque[tuple[int, memoryview]] = deque()

    @property
    def is_empty(self) -> bool:
        """Tell whether more may be taken in."""
        return not self._waiting

    def allow(self, count: int) -> None:
        """Take note of credit.

        Raises:
            ProtocolError: when it adds up to more than a stream can ever use.
        """
        self._credit += count
        if self._credit > frames.MAX_STREAM:
            raise ProtocolError(
                f"stream `{self._stream}` was given more than {frames.MAX_STREAM} bytes of credit"
            )

    def put(self, kind: int, data: bytes) -> None:
        """Take in bytes; the caller looks at `is_empty` before it reads the next ones."""
        if data:
            self._waiting.append((kind, memoryview(data)))

    def drop(self) -> None:
        """Forget what waits: the host does not want it."""
        self._waiting.clear()

    def pump(self, link: Wire) -> None:
        """Send what credit allows."""
        while self._waiting and self._credit:
            kind, data = self._waiting.popleft()
            count = min(len(data), self._credit, frames.MAX_PAYLOAD_BYTES)
            link.send(kind, self._stream, data[:count])
            self._credit -= count
            if count < len(data):
                self._waiting.appendleft((kind, data[count:]))


class Inlet:
    """Body bytes from the host, held until whoever needs them takes them."""

    __slots__ = ("_credit", "_owed", "_stream", "_waiting", "ended")

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._credit = frames.INITIAL_CREDIT_BYTES
        self._owed = 0
        self._waiting: deque[memoryview] = deque()
        self.ended = False

    @property
    def is_empty(self) -> bool:
        """Tell whether everything that came has been taken."""
        return not self._waiting

    def put(self, data: bytes) -> None:
        """Take in a BODY frame's bytes.

        Raises:
            ProtocolError: when the host had no credit for them, or had ended its side.
        """
        self._require_open()
        if len(data) > self._credit:
            raise ProtocolError(
                f"stream `{self._stream}` got `{len(data)}` bytes; credit was for {self._credit}"
            )
        self._credit -= len(data)
        self._waiting.append(memoryview(data))

    def end(self) -> None:
        """Take note of END.

        Raises:
            ProtocolError: when it came before.
        """
        self._require_open()
        self.ended = True

    def peek(self) -> memoryview:
        """Return the first bytes that wait."""
        return self._waiting[0]

    def taken(self, count: int, link: Wire) -> None:
        """Remove the first `count` bytes of what `peek` returned, and give the host credit, in steps."""
        head = self._waiting.popleft()
        if count < len(head):
            self._waiting.appendleft(head[count:])
        self._owed += count
        if self._owed >= CREDIT_STEP_BYTES and not self.ended:
            link.send(frames.CREDIT, self._stream, self._owed.to_bytes(4, "big"))
            self._credit += self._owed
            self._owed = 0

    def _require_open(self) -> None:
        if self.ended:
            raise ProtocolError(f"stream `{self._stream}` got a frame after END")


class Stream:
    """One operation that the host asked for.

    Args:
        number: the stream's number.
        operation: its name.
        payload: the OPEN frame's, for the worker.
        seconds: how long it may take, once it has begun.
    """

    def __init__(self, number: int, operation: str, payload: bytes, seconds: float) -> None:
        self.number = number
        self.operation = operation
        self.payload = payload
        self.seconds = seconds
        self.output_bytes = 0
        self.outlet = Outlet(number)
        self.inlet = Inlet(number)
        self.worker: Worker | None = None
        self.pipes: Pipes | None = None
        self.deadline: float | None = None
        self.kill_at: float | None = None
        self.cancelled = False
        self.timed_out = False
        self.end_passed_on = False
        self.outcome: Outcome | None = None

    @property
    def is_discarding(self) -> bool:
        """Tell whether body bytes are of no use to the host any more."""
        return self.cancelled or (self.timed_out and self.pipes is None)

    @property
    def wakes_at(self) -> float | None:
        """Return when something has to be done for it, in seconds of the monotonic clock."""
        return self.kill_at if self.kill_at is not None else self.deadline

    def settle(self, outcome: Outcome) -> None:
        """Keep how the work ended: what its worker says of it, unless it was cancelled or overran."""
        if self.cancelled:
            outcome = Outcome(frames.FAIL, CANCELLED)
        elif self.timed_out and (self.pipes is None or outcome.kind == frames.FAIL):
            late = f"the operation took longer than `{self.seconds}` seconds"
            outcome = Outcome(frames.FAIL, {"code": "timeout", "message": late})
        self.outcome = outcome
        self.deadline = self.kill_at = None
