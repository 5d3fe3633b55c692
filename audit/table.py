"""The table of openings, ``openings.jsonl``: what its lines hold, and at which byte each begins."""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

import orjson

from audit.digests import Digests, is_digest
from audit.errors import BrokenLedgerError
from audit.segments import opened

SALT_BYTES = 32
NOTES = 8
"""How many different notes there may be of a line."""
LONGEST_LINE = 128 * 1024
"""Bytes of a line of the table: a small value, each of its bytes escaped."""
_WITHOUT_END = 4 * LONGEST_LINE
"""Bytes without the end of a line behind which nothing is looked for: more than a torn line and the next."""


class EndlessLineError(BrokenLedgerError):
    """Raised when a line of a table does not end: a file may be a hole that takes hours to read."""


def places_in(table: Path, note: Callable[[str, dict[str, object]], int]) -> Digests:
    """Return each commitment of a table with a number: `NOTES` times the place of its last line, and a note.

    Args:
        table: The file.
        note: Says what to note of a line, from 0 to below `NOTES`, given its commitment and its fields.

    Raises:
        BrokenLedgerError: When the table is no file, or cannot be read.
    """
    found = Digests()
    with suppress(EndlessLineError):  # what stands behind it is missing then
        for place, fields in lines_of(table):
            digest = fields.get("commitment")
            if isinstance(digest, str) and is_digest(digest):
                found.put(digest, place * NOTES + note(digest, fields))
    return found


def lines_of(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield the whole lines of the table with their places, but what is torn, too long or no object.

    Raises:
        EndlessLineError: When a line does not end.
        BrokenLedgerError: When the table is no file, or cannot be read.
    """
    try:
        raw = opened(path)
    except BrokenLedgerError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return
        raise
    place = 0
    with BufferedReader(raw) as file:
        while line := file.readline(_WITHOUT_END):
            if len(line) == _WITHOUT_END and not line.endswith(b"\n"):
                raise EndlessLineError(f"`{path.name}` holds a line without an end", path=path)
            fields = object_in(line) if len(line) <= LONGEST_LINE else None
            if fields is not None:
                yield place, fields
            place += len(line)


def object_in(line: bytes) -> dict[str, object] | None:
    """Return what a line of the table holds; None when it is torn or no object."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) else None


def salt_in(fields: Mapping[str, object]) -> bytes | None:
    """Return the salt in an opening's line; None where there is none."""
    try:
        salt = bytes.fromhex(str(fields["salt"]))
    except (KeyError, ValueError):
        return None
    return salt if len(salt) == SALT_BYTES else None


def inline(fields: Mapping[str, object], digest: str) -> bytes | None:
    """Return the value in an opening's line; None where there is none.

    Raises:
        BrokenLedgerError: When nothing was ever spelled so.
    """
    match fields:
        case {"utf8": str(text)}:
            return text.encode("utf-8")
        case {"base64": str(text)}:
            try:
                return base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError) as error:
                raise BrokenLedgerError(f"the value behind commitment `{digest[:16]}` was changed") from error
    return None


def is_apart(fields: Mapping[str, object]) -> bool:
    """Tell whether the value of a line without one is in a file of its own."""
    return fields.get("blob") is True
