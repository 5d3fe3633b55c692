"""Make SHA-256 hashes: the built-in one for small content, OpenSSL's, loaded when first needed, for large."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import _Hash

try:
    from _sha2 import sha256 as _small  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    # Python 3.11 calls it so.
    from _sha256 import sha256 as _small  # type: ignore[import-not-found,unused-ignore]

LARGE_BYTES = 128 * 1024


class Digest:
    """A SHA-256 hash that waits to see how much comes: OpenSSL is 8 times as fast, and takes 8 ms to load."""

    def __init__(self) -> None:
        self._first: list[bytes] = []
        self._held = 0
        self._hash: _Hash | None = None

    def update(self, data: bytes) -> None:
        """Add bytes."""
        if self._hash is not None:
            self._hash.update(data)
            return
        self._first.append(data)
        self._held += len(data)
        if self._held >= LARGE_BYTES:
            self._hash = _large()
            self._hash.update(b"".join(self._first))
            self._first.clear()

    def hexdigest(self) -> str:
        """Return the hash of all bytes so far."""
        if self._hash is not None:
            return self._hash.hexdigest()
        small: _Hash = _small(b"".join(self._first))
        return small.hexdigest()


def _large() -> _Hash:
    try:
        from _hashlib import openssl_sha256  # noqa: PLC0415 (libcrypto would cost every start 8 ms)
    except ImportError:
        made: _Hash = _small()
        return made
    return openssl_sha256()
