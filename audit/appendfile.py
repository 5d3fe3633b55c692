"""A file that only grows, and says so at once when it did not: one descriptor, no entry's meaning.

Each append is one write and one fdatasync. A short write, a failed sync and a file that was unlinked,
replaced or grown by another are final: the file is never tried again. Beyond its end it holds a reserve, so
that the closing lines fit on a full disk.
"""

import ctypes
import errno
import os
import sys
from pathlib import Path

from audit.errors import LedgerDeadError, LedgerError, LedgerFullError, LedgerLostError
from audit.state import sync_folder

RESERVE_BYTES = 1024 * 1024
_KEEP_SIZE = 1
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class AppendFile:
    """An open file at whose end bytes are added durably.

    Args:
        path: The file; made, private to its owner, when it is not there.
        reserve_bytes: Room to hold beyond the end; 0 holds none.

    Raises:
        LedgerError: When it cannot be opened.
    """

    def __init__(self, path: Path, *, reserve_bytes: int = RESERVE_BYTES) -> None:
        self.path = path
        self._reserve_bytes = reserve_bytes
        self._dead: LedgerError | None = None
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o600)
            found = os.fstat(self._descriptor)
            sync_folder(path.parent)
        except OSError as error:
            raise spoken(error, path) from error
        self._name = str(path)
        self.size = found.st_size
        self._device, self._inode = found.st_dev, found.st_ino
        self._reserved_to = 0

    def append(self, content: bytes, *, closing: bool = False) -> None:
        """Add bytes at the end; when this returns they survive a power cut.

        Args:
            content: What to add, in one write.
            closing: True for the last lines, which may use up the reserve.

        Raises:
            LedgerFullError: When the disk has no room for it beyond the reserve; nothing was written.
            LedgerError: When anything else went wrong; the file is dead from now on.
        """
        if self._dead is not None:
            raise LedgerDeadError(f"`{self.path.name}` is no longer written: {self._dead}")
        if not closing and self.size + len(content) + self._reserve_bytes > self._reserved_to:
            self._reserve(len(content))
        try:
            written = os.write(self._descriptor, content)
            self.size += written
            if written == len(content):
                os.fdatasync(self._descriptor)
        except OSError as error:
            raise self._died(spoken(error, self.path)) from error
        if written != len(content):  # a disk that fills gives a short count first, and no error
            short = OSError(errno.ENOSPC, f"only {written} of {len(content)} bytes were written")
            raise self._died(spoken(short, self.path))
        self._check_place()

    def read_from(self, offset: int) -> bytes:
        """Return everything from an offset in bytes to the end."""
        pieces = []
        while piece := os.pread(self._descriptor, 1024 * 1024, offset):
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    def adopt(self, size: int) -> None:
        """Take the file to be that long: what others added lawfully, and the caller has read and verified."""
        self.size = size

    def truncate(self, size: int) -> None:
        """Cut the file to a size, durably: only for a tail that a crash has torn."""
        try:
            os.ftruncate(self._descriptor, size)
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._died(spoken(error, self.path)) from error
        self.size = size
        self._reserved_to = 0

    def close(self, *, trim: bool = True) -> None:
        """Close the descriptor.

        Args:
            trim: Whether to give the reserve back; never where others append to the same file.
        """
        try:
            if trim and self._dead is None and self._reserved_to > self.size:
                os.ftruncate(self._descriptor, self.size)
        except OSError:
            pass  # the reserve stays held: what was written is on the disk all the same
        finally:
            os.close(self._descriptor)

    @property
    def reserved_bytes(self) -> int:
        """Return how much room is held beyond the end; 0 where the filesystem cannot hold any."""
        return max(0, self._reserved_to - self.size)

    def reserve(self) -> None:
        """Hold the reserve now.

        Raises:
            LedgerFullError: When the disk has no room for it.
        """
        self._reserve(0)

    def _reserve(self, coming: int) -> None:
        if not self._reserve_bytes or self.size + coming + self._reserve_bytes <= self._reserved_to:
            return
        for generous in (2, 1):
            length = coming + generous * self._reserve_bytes
            problem = _allocate(self._descriptor, self.size, length)
            if problem == 0:
                self._reserved_to = self.size + length
                return
            if problem not in _NO_ROOM:
                return  # a filesystem that cannot hold a reserve: a full disk is then seen at the write
        raise LedgerFullError(
            f"the disk of `{self.path.name}` is full", hint="make room, then resume the session"
        )

    def _check_place(self) -> None:
        """Check that the bytes went to the file that bears the name, and that nobody else wrote there.

        While the name leads to the very file that is open, its size is that of the open one.
        """
        try:
            named = os.lstat(self._name)
        except OSError as error:
            raise self._died(LedgerLostError(f"`{self.path.name}` was unlinked under its writer")) from error
        if named.st_ino != self._inode or named.st_dev != self._device:
            raise self._died(LedgerLostError(f"`{self.path.name}` was replaced under its writer"))
        if named.st_size != self.size:
            raise self._died(LedgerLostError(f"`{self.path.name}` was changed by another writer"))

    def _died(self, error: LedgerError) -> LedgerError:
        self._dead = error
        return error


def spoken(error: OSError, path: Path) -> LedgerError:
    """Return the ledger's error for one of the system's, a full disk told apart from the rest.

    Args:
        error: What the system said.
        path: What was being written.
    """
    reason = error.strerror or "unknown error"
    if error.errno in _NO_ROOM:
        return LedgerFullError(f"`{path}`: {reason.lower()}", hint="make room, then resume the session")
    return LedgerError(f"cannot write `{path}`: {reason.lower()}")


def _allocate(descriptor: int, offset: int, length: int) -> int:
    """Hold room beyond the file's end without changing its size; return 0 or an errno (man 2 fallocate)."""
    if sys.platform != "linux":
        return errno.EOPNOTSUPP
    library = ctypes.CDLL(None, use_errno=True)
    call = library.fallocate
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    while call(descriptor, _KEEP_SIZE, offset, length) != 0:
        problem = ctypes.get_errno()
        if problem != errno.EINTR:
            return problem
    return 0
