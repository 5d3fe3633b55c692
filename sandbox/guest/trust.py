"""Write down whom the agent's programs may trust: the image's own authorities, and the session's."""

from __future__ import annotations

import os

from .arguments import Arguments
from .keystore import java_keystore
from .refusal import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .beneath import Beneath
    from .objects import Object
    from .task import Task

NAME = b".pairlock-authorities.pem"
JAVA_NAME = b".pairlock-authorities.jks"
MOST_BYTES = 4 << 20
_MOST_GIVEN_BYTES = 64 * 1024
# Where distributions keep them: Debian and Alpine, Fedora, SUSE, OpenSSL's own default.
_PLACES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def write_bundle(task: Task, beneath: Beneath) -> Object:
    """Write the image's authorities and those of the body into the root folder: as PEM, and as Java's."""
    Arguments(task.values, frozenset({"timeout_seconds"}))
    given = bytearray()
    while data := task.receive_body():
        given += data
        if len(given) > _MOST_GIVEN_BYTES:
            raise RefusedError("limit", f"the authorities are longer than `{_MOST_GIVEN_BYTES}` bytes")
    found = _of_the_image()
    pem = found + bytes(given)
    _write(beneath, NAME, pem)
    _write(beneath, JAVA_NAME, java_keystore(pem))
    return {"image_bytes": len(found), "given_bytes": len(given)}


def _write(beneath: Beneath, name: bytes, content: bytes) -> None:
    descriptor = beneath.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o444)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def _of_the_image() -> bytes:
    """Return the first bundle that the image has, whole lines of it; empty when it has none."""
    for place in _PLACES:
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            return _whole(descriptor)
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return b""


def _whole(descriptor: int) -> bytes:
    pieces: list[bytes] = []
    left = MOST_BYTES
    while left and (data := os.read(descriptor, left)):
        pieces.append(data)
        left -= len(data)
    return b"".join(pieces).rstrip(b"\n") + b"\n"
