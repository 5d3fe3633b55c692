"""Read a log's raw lines from its files, in constant memory; what the lines mean is told elsewhere."""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import FileIO
from pathlib import Path

from audit.errors import BrokenLedgerError

_CHUNK = 1024 * 1024
_LONGEST_TORN = 64 * 1024
"""Bytes of a last line without its newline; a writer leaves no longer one."""
_LONGEST_TEXT = 64 * 1024
"""Bytes of a file that holds a note, a key or a word; what is longer is cut off, and is none then."""


@dataclass(frozen=True, slots=True)
class Torn:
    """A last line without its newline, as a crash leaves it.

    Attributes:
        size: Bytes.
        digest: SHA-256 of them, in hexadecimal.
        offset: Where in its file it begins, in bytes.
    """

    size: int
    digest: str
    offset: int


NOT_TORN = Torn(0, sha256(b"").hexdigest(), 0)


def opened(path: Path) -> FileIO:
    """Open a file of the ledger for reading, if it is one: no link, no pipe, nothing that could hang.

    Raises:
        BrokenLedgerError: When it is none, or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = (
            "is a symbolic link"
            if error.errno == errno.ELOOP
            else f"cannot be read: {error.strerror}".lower()
        )
        raise BrokenLedgerError(f"`{path.name}` {why}", path=path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BrokenLedgerError(f"`{path.name}` is not a regular file", path=path)
    return FileIO(descriptor, "rb")


def text_in(path: Path) -> str | None:
    """Return the text of a small file, at most 64 KiB of it; None where there is none.

    Raises:
        BrokenLedgerError: When it is no file, or cannot be read.
    """
    try:
        with opened(path) as file:
            return file.read(_LONGEST_TEXT).decode("utf-8", "replace")
    except BrokenLedgerError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


class Lines:
    """The lines of a row of files, each without its newline; after the last, `torn` says what was left over.

    Args:
        paths: The files, oldest first.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self.torn = NOT_TORN

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield the lines in blocks of about a megabyte."""
        for number, path in enumerate(self._paths):
            yield from self._blocks_of(path, last=number == len(self._paths) - 1)

    def __iter__(self) -> Iterator[bytes]:
        for block in self.blocks():
            yield from block

    def _blocks_of(self, path: Path, *, last: bool) -> Iterator[list[bytes]]:
        rest, offset = b"", 0
        with opened(path) as file:
            while chunk := file.read(_CHUNK):
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()
                offset += len(chunk)
                if lines:
                    yield lines
                if len(rest) > _LONGEST_TORN:
                    raise BrokenLedgerError(f"`{path.name}` holds a line without an end", path=path)
        if rest and not last:
            raise BrokenLedgerError(f"`{path.name}` ends in the middle of a line", path=path)
        if last:
            self.torn = Torn(len(rest), sha256(rest).hexdigest(), offset - len(rest))
