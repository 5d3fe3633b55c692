"""What stands behind commitments: salts and values, in ``openings.jsonl`` and, for large ones, in ``blobs/``.

Openings are not chained: they may be deleted, and the entry's commitment still proves what was there. A
value is checked against its commitment each time it is read.
"""

import base64
import gzip
import zlib
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import orjson

from audit.digests import Digests
from audit.errors import BrokenLedgerError
from audit.fields import Commitment
from audit.segments import opened
from audit.state import SessionFiles, sync_folder, write_private
from audit.table import (
    LONGEST_LINE,
    NOTES,
    SALT_BYTES,
    inline,
    is_apart,
    lines_of,
    object_in,
    places_in,
    salt_in,
)

LARGEST_INLINE = 8 * 1024
LARGEST_BLOB = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Opening:
    """A commitment with what opens it.

    Attributes:
        commitment: What the entry holds.
        salt: The 32 bytes that were hashed before the value.
        value: The value, already redacted; None when only the salt is kept.
    """

    commitment: Commitment
    salt: bytes
    value: bytes | None

    def is_large(self) -> bool:
        """Tell whether the value goes to a file of its own."""
        return self.value is not None and len(self.value) > LARGEST_INLINE

    def line(self) -> bytes:
        """Return the line of ``openings.jsonl``, with its newline."""
        fields = {"commitment": self.commitment.digest, "size": self.commitment.size, "salt": self.salt.hex()}
        return orjson.dumps(fields | self._place()) + b"\n"

    def _place(self) -> dict[str, object]:
        if self.value is None:
            return {"kept": False}
        if self.is_large():
            return {"blob": True}
        try:
            return {"utf8": self.value.decode("utf-8")}
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(self.value).decode("ascii")}


def commit(value: bytes, *, random: Callable[[int], bytes], keep: bool = True) -> Opening:
    """Return a fresh commitment to a value, with its opening.

    Args:
        value: What to commit to, already redacted.
        random: Gives that many unpredictable bytes.
        keep: False to keep the salt only: whoever has the value can then prove it, and nobody can read it.
    """
    salt = random(SALT_BYTES)
    digest = sha256(salt + value).hexdigest()
    return Opening(Commitment(digest=digest, size=len(value)), salt, value if keep else None)


def write_blob(files: SessionFiles, opening: Opening) -> None:
    """Write a large value to its file, compressed and durable.

    Args:
        files: The session's files.
        opening: One whose value is large.
    """
    if opening.value is None:
        return
    if not files.blobs.is_dir():
        files.blobs.mkdir(mode=0o700, exist_ok=True)
        sync_folder(files.folder)
    write_private(blob_path(files, opening.commitment.digest), gzip.compress(opening.value, 3, mtime=0))


def blob_path(files: SessionFiles, digest: str) -> Path:
    """Return where the value behind a commitment lies, if it is large."""
    return files.blobs / f"{digest}.gz"


@dataclass(frozen=True, slots=True)
class Gone:
    """The value behind a commitment is not there.

    Attributes:
        commitment: The commitment's digest.
        never_kept: True when the writer kept only the salt, on purpose.
    """

    commitment: str
    never_kept: bool


class Openings:
    """The openings of one session, found by commitment.

    Args:
        files: The session's files. Only the places of lines are remembered.
        places: By which number each line is found, from whoever has read them; None to read them here.

    Raises:
        BrokenLedgerError: When the table is no file, or cannot be read.
        NoRoomError: When there is no room for the places of a long one.
    """

    def __init__(self, files: SessionFiles, places: Digests | None = None) -> None:
        self._files = files
        self._table = files.openings
        self._open: BinaryIO | None = None
        self._places = places_in(self._table, lambda _digest, _fields: 0) if places is None else places

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def digests(self) -> set[str]:
        """Return every commitment that has a line."""
        return set(self._places)

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep the table open meanwhile, for whoever reads many values.

        Raises:
            BrokenLedgerError: When the table is no file any more, or cannot be read.
        """
        with BufferedReader(opened(self._table)) as file:
            self._open = file
            try:
                yield
            finally:
                self._open = None

    def value(self, commitment: Commitment) -> bytes | Gone:
        """Return the value behind a commitment, checked against it.

        Raises:
            BrokenLedgerError: When there is a value and it is not the one that was committed to.
        """
        return self._checked(commitment, self._fields(commitment.digest))

    def claimed(self, digest: str) -> bytes | Gone:
        """Return the same where only the digest is known: the value's length is what the table claims.

        Raises:
            BrokenLedgerError: When there is a value and it is not the one that was committed to.
        """
        fields = self._fields(digest)
        size = fields.get("size")
        size = size if type(size) is int and 0 < size <= LARGEST_BLOB else 0
        return self._checked(Commitment(digest=digest, size=size), fields)

    def _checked(self, commitment: Commitment, fields: dict[str, object]) -> bytes | Gone:
        salt = salt_in(fields)
        if salt is None:
            return Gone(commitment.digest, never_kept=False)
        if fields.get("kept") is False:
            return Gone(commitment.digest, never_kept=True)
        value = self._read(commitment, fields)
        if value is None:
            return Gone(commitment.digest, never_kept=False)
        if sha256(salt + value).hexdigest() != commitment.digest:
            raise BrokenLedgerError(f"the value behind commitment `{commitment.digest[:16]}` was changed")
        return value

    def _fields(self, digest: str) -> dict[str, object]:
        """Return an opening's line, read where it stands; nothing when there is none."""
        number = self._places.number_of(digest)
        if number is None:
            return {}
        if self._open is None:
            with self.kept_open():
                return self._fields(digest)
        self._open.seek(number // NOTES)
        fields = object_in(self._open.readline(LONGEST_LINE)) or {}
        return fields if fields.get("commitment") == digest else {}

    def _read(self, commitment: Commitment, fields: dict[str, object]) -> bytes | None:
        value = inline(fields, commitment.digest)
        return self._blob(commitment) if value is None and is_apart(fields) else value

    def _blob(self, commitment: Commitment) -> bytes | None:
        path = blob_path(self._files, commitment.digest)
        try:
            with opened(path) as raw, gzip.GzipFile(fileobj=raw, mode="rb") as file:
                return file.read(min(commitment.size, LARGEST_BLOB) + 1)
        except BrokenLedgerError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        except (OSError, EOFError, zlib.error) as error:
            raise BrokenLedgerError(f"blob `{path.name[:16]}` cannot be read back", path=path) from error


def without(files: SessionFiles, digests: AbstractSet[str]) -> None:
    """Delete openings, their salts and their values, durably; nothing happens where there is none.

    Args:
        files: The session's files.
        digests: The commitments.
    """
    kept = [
        orjson.dumps(fields) + b"\n"
        for _, fields in lines_of(files.openings)
        if fields.get("commitment") not in digests
    ]
    if files.openings.exists():
        write_private(files.openings, b"".join(kept))
    blobs = [path for digest in digests if (path := blob_path(files, digest)).exists()]
    for path in blobs:
        path.unlink()
    if blobs:
        sync_folder(files.blobs)
