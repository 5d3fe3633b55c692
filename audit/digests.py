"""Remember digests in bounded memory: a few thousand in a dictionary, more of them in a temporary file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from audit.set_aside import SetAside

IN_MEMORY = 8 * 1024
"""Digests, at some 200 bytes each."""
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Ascending:
    """Finds digests for whoever asks for them in ascending order: all in one sweep, not by a search for each.

    Args:
        known: Among which they are looked for.

    Raises:
        NoRoomError: By every method.
    """

    def __init__(self, known: Digests) -> None:
        self._rows = known.numbered()
        self._row = next(self._rows, None)

    def number_of(self, digest: bytes) -> int | None:
        """Return the number of a digest; None when it is not remembered.

        Args:
            digest: No smaller than the one before.
        """
        row = self._row
        while row is not None and row[0] < digest:
            self._row = row = next(self._rows, None)
        return row[1] if row is not None and row[0] == digest else None


def is_digest(text: str) -> bool:
    """Tell whether a text is a SHA-256 in lowercase hexadecimal."""
    return _DIGEST.fullmatch(text) is not None


class Digests:
    """Digests, each once and with a number, in ascending order.

    Raises:
        NoRoomError: By every method: when the file cannot be written or read.
    """

    def __init__(self) -> None:
        self._newest: dict[bytes, int] = {}
        self._aside: SetAside | None = None

    def put(self, digest: str, number: int) -> None:
        """Remember a digest; of the numbers that are given to one the last is kept.

        Args:
            digest: What `is_digest`.
            number: No smaller than those that it was given before.
        """
        self._newest[bytes.fromhex(digest)] = number
        if len(self._newest) >= IN_MEMORY:
            self._set_aside()

    def update(self, digests: Iterable[str]) -> None:
        """Remember digests.

        Args:
            digests: Each what `is_digest`.
        """
        self._newest.update(dict.fromkeys(map(bytes.fromhex, digests), 0))
        if len(self._newest) >= IN_MEMORY:
            self._set_aside()

    def number_of(self, digest: str) -> int | None:
        """Return the number of a digest; None when it is not remembered."""
        if not is_digest(digest):
            return None
        known = bytes.fromhex(digest)
        if known in self._newest or self._aside is None:
            return self._newest.get(known)
        return self._aside.number_of(known)

    def __contains__(self, digest: str) -> bool:
        return self.number_of(digest) is not None

    def __iter__(self) -> Iterator[str]:
        return (digest.hex() for digest, _ in self.numbered())

    def numbered(self) -> Iterator[tuple[bytes, int]]:
        """Return the digests with their numbers, in ascending order."""
        if self._aside is None:
            return iter(sorted(self._newest.items()))
        self._set_aside()
        return self._aside.in_order()

    def _set_aside(self) -> None:
        from audit.set_aside import SetAside  # noqa: PLC0415 - a database's library, which few logs need

        self._aside = self._aside or SetAside()
        self._aside.put(self._newest.items())
        self._newest.clear()
