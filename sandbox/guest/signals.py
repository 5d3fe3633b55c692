"""Ignore every signal that a process of the container could send; `stub/start.c` gives programs theirs back.

PID 1 gets only those signals from inside its namespace for which it has a handler; Python installs one for
SIGINT, with which a child could end it (attack B117). The guest ignores all, in its workers as well, which
have no such protection; SIGKILL and SIGSTOP end or stop a worker, and PID 1 replaces or
wakes it.
"""

from __future__ import annotations

import os

from . import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from types import FrameType
else:
    import _signal as signal  # `signal` itself imports `enum`, which would cost every start 5 ms

CHILD = int(signal.SIGCHLD)
KILL = int(signal.SIGKILL)
STOP = int(signal.SIGSTOP)
CONTINUE = int(signal.SIGCONT)
TERMINATE = int(signal.SIGTERM)

_NOT_OURS = (KILL, STOP, CHILD)
# The C library keeps these two real-time signals to itself and refuses to touch them; the kernel does not.
_RESERVED = (32, 33)
_SIG_IGN = (1).to_bytes(8, "little") + bytes(24)  # struct kernel_sigaction: handler, flags, restorer, mask


def ignore_all() -> None:
    """Ignore every signal but SIGCHLD."""
    for number in sorted(signal.valid_signals()):
        if number not in _NOT_OURS:
            signal.signal(number, signal.SIG_IGN)
    for reserved in _RESERVED:
        linux.call("rt_sigaction", reserved, _SIG_IGN, 0, 8)


def forget_bell() -> None:
    """Forget, in a forked child, the bell of its parent: the number is about to belong to something else."""
    signal.set_wakeup_fd(-1)
    signal.signal(CHILD, signal.SIG_DFL)


class ChildBell:
    """A descriptor that can be read when a child has changed state."""

    def __init__(self) -> None:
        self._rung, ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._ring = ring
        signal.signal(CHILD, _do_nothing)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._rung

    def silence(self) -> None:
        """Take note of every ring so far."""
        try:
            while os.read(self._rung, 4096):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Give SIGCHLD back and close the descriptors."""
        forget_bell()
        os.close(self._rung)
        os.close(self._ring)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Stand in for a handler: the wake-up descriptor is what counts."""
