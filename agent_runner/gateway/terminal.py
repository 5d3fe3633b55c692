"""Hold this side of a command's terminal: keys, signals and its size in, what it shows out, as they are.

What a command shows goes to the terminal unescaped, as with ssh: its user asked for its own screen.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import signal
import stat
import struct
import termios
import threading
import tty
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

_HEAD: Final = struct.Struct(">cI")
_READ_BYTES: Final = 32 * 1024
_READ_AHEAD: Final = 4
_JOIN_SECONDS: Final = 5.0
FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
INTERRUPTING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HEEDLESS_SECONDS: Final = 5.0
"""How long a command may write to nobody before it gets SIGTERM, and then, before the session is ended."""
INSISTED: Final = 3
"""How often a signal has to come before the session itself is ended."""
_NOBODY_READS: Final = frozenset({errno.EPIPE, errno.EIO, errno.ECONNRESET})
"""A pipe without a reader, a terminal that was closed, a socket whose other end has gone."""


class Terminal(Protocol):
    """What a command is given for stdin, stdout and stderr."""

    @property
    def shape(self) -> str:
        """Return `pipes`, or `ROWSxCOLUMNS` of the terminal that the command is to have."""
        ...

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Take the terminal for the command, and give it back as it was."""
        ...

    def records(self) -> AsyncIterator[bytes]:
        """Yield what the command is told, as `inside` reads it."""
        ...

    async def show(self, data: bytes, *, errors: bool) -> None:
        """Take what the command wrote, to stderr or to its terminal or stdout."""
        ...


def record(kind: bytes, body: bytes = b"") -> bytes:
    """Return one record for `inside`."""
    return _HEAD.pack(kind, len(body)) + body


class HostTerminal:
    """This process's own stdin, stdout and stderr: a terminal where stdin and stdout are one, else pipes.

    Args:
        insisted: Called when a signal has come again and again.
        after: Called for signals that come once the terminal was given back; None for what was called before.
    """

    def __init__(self, *, insisted: Callable[[], object], after: Callable[[], object] | None = None) -> None:
        self.is_terminal = os.isatty(0) and os.isatty(1)
        self._insisted = insisted
        self._after = after
        self._told: asyncio.Queue[bytes] = asyncio.Queue()
        self._room = threading.Semaphore(_READ_AHEAD)
        self._signals = 0
        self._unread_since = 0.0
        self._heedless_since = 0.0
        self._gave_up = False
        self._telling_unread = b""

    @property
    def shape(self) -> str:
        """Return `pipes`, or the terminal's rows and columns."""
        if not self.is_terminal:
            return "pipes"
        size = os.get_terminal_size(0)
        return f"{size.lines or 24}x{size.columns or 80}"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Pass keys and signals on for as long as the block lasts; signals, in the main thread alone."""
        loop = asyncio.get_running_loop()
        saved = termios.tcgetattr(0) if self.is_terminal else None
        before: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():  # no other one is told of any
            before = {number: signal.getsignal(number) for number in (*FORWARDED, signal.SIGWINCH)}
            for number in FORWARDED:
                loop.add_signal_handler(number, self._signalled, number)
            loop.add_signal_handler(signal.SIGWINCH, self._resized)
        woken, wake = os.pipe()
        reader = threading.Thread(target=self._read, args=(loop, woken), daemon=True)
        reader.start()
        try:
            if saved is not None:
                tty.setraw(0)
            yield
        finally:
            if saved is not None:
                termios.tcsetattr(0, termios.TCSADRAIN, saved)
            for number, handler in before.items():
                self._give_back(loop, number, handler)
            os.close(wake)
            self._room.release()
            reader.join(_JOIN_SECONDS)

    def _give_back(self, loop: asyncio.AbstractEventLoop, number: signal.Signals, handler: Any) -> None:
        """Give a signal back; what a loop's own handler leaves with the kernel does nothing by itself."""
        if self._after is not None and number in INTERRUPTING:
            loop.add_signal_handler(number, self._after)
        else:
            loop.remove_signal_handler(number)
            signal.signal(number, handler)

    def _signalled(self, number: signal.Signals) -> None:
        self._signals += 1
        self._told.put_nowait(record(b"s", bytes([number])))
        if self._signals >= INSISTED and (number != signal.SIGINT or not self.is_terminal):
            self._insisted()

    def _resized(self) -> None:
        if self.is_terminal:
            size = os.get_terminal_size(0)
            self._told.put_nowait(record(b"w", struct.pack(">HH", size.lines, size.columns)))

    def _read(self, loop: asyncio.AbstractEventLoop, woken: int) -> None:
        """Read in a thread of its own: nothing else waits for files, pipes and terminals alike.

        INVARIANT: nothing is read once the other end of `woken` is closed: it is whose the terminal is then.
        """
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(woken, select.POLLIN)
        data = b"-"
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody is told any more
            while data:
                self._room.acquire()
                if woken in dict(poll.poll()):
                    break
                try:
                    data = os.read(0, _READ_BYTES)
                except OSError:  # a terminal that was closed
                    data = b""
                loop.call_soon_threadsafe(self._told.put_nowait, record(b"d", data) if data else record(b"e"))
        os.close(woken)

    async def records(self) -> AsyncIterator[bytes]:
        """Yield keys, signals and sizes as they come."""
        while True:
            told = await self._told.get()
            yield told
            if told is self._telling_unread:
                self._telling_unread = b""  # at most one waits, however much is written meanwhile
            if told[:1] in {b"d", b"e"}:
                self._room.release()

    async def show(self, data: bytes, *, errors: bool) -> None:
        """Write to this process's own stdout or stderr, which may be slow.

        Where nobody reads its stdout or terminal any more, the command hears so as in a shell's pipeline; one
        that writes on without heed is told to end, and in the end is ended. A stderr of its own that nobody
        reads is dropped: its stdout may well be read.

        Raises:
            OSError: When it cannot be written, as on a full disk; half of what a command wrote is not it.
        """
        if await asyncio.to_thread(_write, 2 if errors else 1, data):
            return
        if self.is_terminal or not errors:
            self._unread(asyncio.get_running_loop().time())

    def _unread(self, now: float) -> None:
        """Tell the command that nobody reads it; a signal cannot overtake a stdin that it does not read."""
        self._unread_since = self._unread_since or now
        heedless = now - self._unread_since > HEEDLESS_SECONDS
        if heedless:
            self._heedless_since = self._heedless_since or now
            if now - self._heedless_since > HEEDLESS_SECONDS and not self._gave_up:
                self._gave_up = True
                self._insisted()
        if not self._telling_unread:
            number = signal.SIGTERM if heedless else signal.SIGPIPE
            self._telling_unread = record(b"s", bytes([number]))
            self._told.put_nowait(self._telling_unread)


def _write(descriptor: int, data: bytes) -> bool:
    """Write all of it; return whether anybody still reads it.

    Raises:
        OSError: When it cannot be written for another reason.
    """
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # whoever shares it may have set it so, and be slow
            select.select([], [descriptor], [])
        except OSError as error:
            if error.errno in _NOBODY_READS and not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return False
            name = "stdout" if descriptor == 1 else "stderr"
            raise OSError(error.errno, error.strerror, name) from error
    return True
