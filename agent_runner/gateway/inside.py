"""Run one command inside the container, at a terminal or at pipes. Standard library only.

It is started by the guest as any program is, from the interpreter of the runtime volume, so that the image
needs none. What comes on its stdin are records: a letter, a length (u32, big-endian), a body.

    d  bytes for the command's stdin          e  no more of them
    w  rows and columns (two u16)             s  a signal's number (u8), for the command's processes

Its stdout is the command's terminal, or the command's own stdout; it leaves with the command's code, or with
128 + the signal that ended it. It holds nothing that the command may not have: both have the same rights.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import struct
import sys
import termios

_HEAD = struct.Struct(">cI")
_READ = 65536
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126


def main(arguments: list[str]) -> int:
    """Run it and return its code.

    Args:
        arguments: `pipes` or `ROWSxCOLUMNS`, then the command.
    """
    shape, command = arguments[0], arguments[1:]
    signal.signal(signal.SIGCHLD, lambda *_: None)
    bell, ring = os.pipe()
    os.set_blocking(ring, False)
    os.set_blocking(bell, False)
    signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    if shape == "pipes":
        child, feed = _at_pipes(command)
        return _Keeper(child, feed, None, bell).until_ended()
    rows, columns = map(int, shape.split("x"))
    child, master = _at_terminal(command, rows, columns)
    return _Keeper(child, master, master, bell).until_ended()


def _at_pipes(command: list[str]) -> tuple[int, int]:
    source, feed = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.dup2(source, 0)
        _become(command)
    os.close(source)
    return child, feed


def _at_terminal(command: list[str], rows: int, columns: int) -> tuple[int, int]:
    master, slave = os.openpty()
    _resize(master, rows, columns)
    child = os.fork()
    if child == 0:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for number in (0, 1, 2):
            os.dup2(slave, number)
        _become(command)
    os.close(slave)
    return child, master


def _become(command: list[str]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.closerange(3, 1024)
    try:
        os.execvp(command[0], command)  # noqa: S606 (an argv, never a shell)
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        os.write(2, f"pairlock: `{command[0][:200]}`: {os.strerror(error.errno or 0).lower()}\n".encode())
        os._exit(_NOT_FOUND if missing else _NOT_EXECUTABLE)
    finally:
        os._exit(_NOT_EXECUTABLE)


def _resize(terminal: int, rows: int, columns: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class _Keeper:
    """Carry records to the command, and its terminal's bytes back, until it has ended.

    Args:
        child: The command's process, which leads its group.
        feed: Where its stdin is written.
        terminal: The master of its terminal; None at pipes.
        bell: Readable when a child has changed.
    """

    def __init__(self, child: int, feed: int, terminal: int | None, bell: int) -> None:
        self._child = child
        self._feed: int | None = feed
        self._terminal = terminal
        self._bell = bell
        self._records = bytearray()
        self._waiting = bytearray()
        self._ends = False
        self._hears = True
        os.set_blocking(feed, False)

    def until_ended(self) -> int:
        """Return the command's code."""
        while True:
            ended, status = os.waitpid(self._child, os.WNOHANG)
            if ended:
                self._drain()
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            self._turn()

    def _turn(self) -> None:
        # What the command does not read yet is not taken from the host either.
        sources = [self._bell]
        if self._hears and len(self._waiting) < _READ:
            sources.append(0)
        if self._terminal is not None:
            sources.append(self._terminal)
        sinks = [self._feed] if self._waiting and self._feed is not None else []
        readable, writable, _ = select.select(sources, sinks, [])
        if self._bell in readable:
            os.read(self._bell, _READ)
        if 0 in readable:
            self._hear()
        if self._terminal in readable and not self._show():
            self._terminal = None  # every program has let go of it; the command is about to end
        if writable:
            self._pour()

    def _hear(self) -> None:
        data = os.read(0, _READ)
        self._records += data
        if not data:
            self._hears, self._ends = False, True
        while len(self._records) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._records)
            if len(self._records) < _HEAD.size + length:
                break
            body = bytes(self._records[_HEAD.size : _HEAD.size + length])
            del self._records[: _HEAD.size + length]
            self._take(kind, body)
        self._pour()

    def _take(self, kind: bytes, body: bytes) -> None:
        if kind == b"d":
            self._waiting += body
        elif kind == b"e":
            self._ends = True
        elif kind == b"w" and self._terminal is not None:
            _resize(self._terminal, *struct.unpack(">HH", body))
        elif kind == b"s":
            self._signal(body[0])

    def _signal(self, number: int) -> None:
        """Pass on a signal, and have a group that is stopped go on: it would take no notice."""
        for each in (number, signal.SIGCONT):
            try:
                group = self._child if self._terminal is None else os.tcgetpgrp(self._terminal)
                os.killpg(group, each)
            except (ProcessLookupError, OSError):
                os.kill(self._child, each)

    def _pour(self) -> None:
        if self._feed is None:
            return
        try:
            while self._waiting:
                del self._waiting[: os.write(self._feed, self._waiting[:_READ])]
        except BlockingIOError:
            return
        except OSError:  # nobody reads it any more
            self._waiting.clear()
            self._ends = True
        if self._ends:
            self._finish()

    def _finish(self) -> None:
        """Say that nothing more comes: a pipe is closed, a terminal gets its end-of-file character."""
        if self._feed is None:
            return
        if self._feed == self._terminal:
            with contextlib.suppress(OSError):
                os.write(self._feed, b"\x04")
        else:
            os.close(self._feed)
        self._feed = None

    def _show(self) -> bool:
        """Pass on what the terminal shows now; return whether it is still open."""
        if self._terminal is None:
            return False
        try:
            data = os.read(self._terminal, _READ)
        except BlockingIOError:
            return True
        except OSError:  # EIO: no process has the other end
            return False
        while data:
            data = data[os.write(1, data) :]
        return True

    def _drain(self) -> None:
        """Show what the command left in the terminal."""
        while self._terminal is not None and select.select([self._terminal], [], [], 0)[0]:
            if not self._show():
                self._terminal = None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
