"""What no ledger can do without: the floors that ours is measured beside."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SEALED_BYTES = 160


def least(paths: list[Path]) -> None:
    """Do what no verifier can do without: hash and decode lines, hash nodes, check the seals' signatures."""
    check = a_signature()
    for line in (line for path in paths for line in path.read_bytes().splitlines()):
        leaf = sha256(b"\0" + line).digest()
        fields = orjson.loads(line)
        sha256(b"\1" + leaf + leaf).digest()
        if fields["type"] == "log.sealed":
            check()


def opened(table: Path) -> None:
    """Do what nobody who looks for bodies can do without: decode each opening, hash its salt and value."""
    for line in table.read_bytes().splitlines():
        fields = orjson.loads(line)
        sha256(bytes.fromhex(fields["salt"]) + fields.get("utf8", "").encode()).hexdigest()


def hashed(paths: list[Path]) -> None:
    """Do what no query that verifies can do without: hash each line."""
    for line in (line for path in paths for line in path.read_bytes().splitlines()):
        sha256(b"\0" + line).digest()


def a_signature() -> Callable[[], None]:
    """Return what checks one signature over as many bytes as a seal signs."""
    key = Ed25519PrivateKey.generate()
    text = b"x" * SEALED_BYTES
    public, signature = key.public_key(), key.sign(text)
    return lambda: public.verify(signature, text)
