"""Keep workers: forked ahead of need, lent to one stream at a time, replaced when they die. PID 1's side."""

from __future__ import annotations

import _socket
import os
import time

from . import descendants, frames, signals
from .wire import Wire
from .worker import live, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .beneath import Beneath

SPARE = 2
MOST = 80
REST_SECONDS = 0.1  # after a worker died: something kills them, and must not make the guest fork all day
WAKES = 8  # how often a process that a program stops is woken, before it is replaced


class Worker:
    """One worker, as PID 1 sees it: what it sends is hostile data.

    Args:
        process: its process id.
        socket: PID 1's end.
    """

    def __init__(self, process: int, socket: _socket.socket) -> None:
        self.process = process
        self._socket = socket
        self.wire = Wire(socket.fileno(), socket.fileno())
        self.stream = 0
        self.interest = -1
        """What its socket is watched for; -1 before it is."""
        self.wakes_left = WAKES

    def give(self, stream: int, payload: bytes, descriptors: list[int], *, has_ended: bool) -> None:
        """Send a request, with the descriptors that go with it, and that no body follows when that is known.

        Raises:
            EOFError: when the worker has died.
        """
        self.stream = stream
        self.wire.send(frames.OPEN, stream, payload)
        if has_ended:
            self.wire.send(frames.END, stream)
        if descriptors:
            self._lead(descriptors)
        self.wire.flush()

    def tell(self, kind: int, stream: int, payload: bytes | memoryview = b"") -> None:
        """Queue a frame; `flush` sends it."""
        self.wire.send(kind, stream, payload)

    def flush(self) -> None:
        """Send what it takes now; one that has died is noticed by reading, with what it still had to say."""
        try:
            self.wire.flush()
        except EOFError:
            return

    def _lead(self, descriptors: list[int]) -> None:
        """Send the descriptors on the first frame; the socket of an idle worker always has room for some."""
        rights = b"".join(number.to_bytes(4, "little") for number in descriptors)
        kind = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)
        try:
            self.wire.sent(self._socket.sendmsg([self.wire.first()], [kind]))
        except OSError as error:
            raise EOFError from error

    def close(self) -> None:
        """Close PID 1's end; the worker then ends by itself."""
        self._socket.close()


class Pool:
    """All workers of this guest.

    Args:
        beneath: the folder that workers resolve paths in.
        forget: is called in each worker first; drops what only PID 1 may know.
    """

    def __init__(self, beneath: Beneath, *, forget: Callable[[], None]) -> None:
        self._beneath = beneath
        self._forget = forget
        self._idle: list[Worker] = []
        self._all: dict[int, Worker] = {}
        self._rests_until = 0.0

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._all.values()))

    def __contains__(self, worker: Worker) -> bool:
        return self._all.get(worker.process) is worker

    def of(self, process: int) -> Worker | None:
        """Return the worker that a process is; None when it is none, or not any more."""
        return self._all.get(process)

    def wake(self, worker: Worker) -> bool:
        """Let a worker that was stopped go on; return False when it was often enough."""
        worker.wakes_left -= 1
        if worker.wakes_left >= 0:
            descendants.send(signals.CONTINUE, worker.process)
        return worker.wakes_left >= 0

    @property
    def lacks(self) -> bool:
        """Tell whether fewer than `SPARE` workers are idle, and more may be made."""
        return len(self._idle) < SPARE and len(self._all) < MOST and time.monotonic() >= self._rests_until

    def lend(self, *, reserve: int) -> Worker | None:
        """Return an idle worker, or a new one; None when there is none and none can be made now.

        Args:
            reserve: how many idle workers to leave.
        """
        if len(self._idle) > reserve:
            return self._idle.pop()
        return self._fork()

    def take_back(self, worker: Worker) -> None:
        """Put a worker that has answered among the idle ones."""
        worker.stream = 0
        self._idle.append(worker)

    def fill(self) -> Worker | None:
        """Fork one more when fewer than `SPARE` are idle; called when there is nothing better to do."""
        if not self.lacks:
            return None
        if self._all:  # the first one is there at once, and loads by itself what it is asked for
            load()
        made = self._fork()
        if made is not None:
            self._idle.append(made)
        return made

    def discard(self, worker: Worker) -> None:
        """Kill a worker that misbehaved, hangs or has died, and forget it."""
        self._rests_until = time.monotonic() + REST_SECONDS
        self._all.pop(worker.process, None)
        if worker in self._idle:
            self._idle.remove(worker)
        worker.close()
        descendants.send(signals.KILL, worker.process)

    def _fork(self) -> Worker | None:
        if len(self._all) >= MOST:
            return None
        try:
            ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        except OSError:  # no descriptors left: later perhaps
            return None
        try:
            process = os.fork()
        except OSError:  # the limit of processes, or of memory: the same
            ours.close()
            theirs.close()
            return None
        if process == 0:
            self._forget()
            live(theirs, self._beneath)
        theirs.close()
        ours.setblocking(False)  # noqa: FBT003 (C, positional)
        worker = Worker(process, ours)
        self._all[process] = worker
        return worker
