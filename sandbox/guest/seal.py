"""Seal frames, where programs can open the link's descriptors: a keyed tag for each, in its order.

Kernels keep the descriptors of a process that is not dumpable to itself; a gVisor of 2022 does not (proc(5)
asks for PTRACE_MODE_READ). There a program could write frames of its own into the link or take some out. With
a seal it cannot be believed: the key was exchanged before the first program ran, and is wiped. What is left
to it is to end its own session.

The tag is BLAKE2b (RFC 7693) of 8 bytes, keyed, over the frame's number in its direction, its header and its
payload. Both ends of the link use this file.
"""

from __future__ import annotations

import os
from _blake2 import blake2b  # `hashlib` would load OpenSSL, which costs the guest's start 8 ms
from _operator import _compare_digest as equal

from .frames import SEAL_KEY_BYTES, TAG_BYTES, ProtocolError

FROM_HOST = b"pairlock host"
FROM_GUEST = b"pairlock guest"


class Seal:
    """One direction's tags; each is made or checked once, in the order of the frames.

    Args:
        key: `SEAL_KEY_BYTES`, the same for both directions.
        sender: `FROM_HOST` or `FROM_GUEST`.
    """

    def __init__(self, key: bytes | bytearray, sender: bytes) -> None:
        self._keyed = blake2b(key=key, person=sender, digest_size=TAG_BYTES)
        self._frames = 0

    def tag(self, header: bytes, payload: bytes | memoryview) -> bytes:
        """Return the next frame's tag."""
        state = self._keyed.copy()
        state.update(self._frames.to_bytes(8, "big"))
        state.update(header)
        state.update(payload)
        self._frames += 1
        return state.digest()

    def check(self, header: bytes, tag: bytes, payload: bytes) -> None:
        """Refuse a frame that the other side did not send, or not as the next.

        Raises:
            ProtocolError: when its tag is another.
        """
        if not equal(self.tag(header, payload), tag):
            raise ProtocolError("a frame without its seal: somebody else wrote into the link or took from it")


def fresh_key() -> bytearray:
    """Return a new key, in a buffer that can be wiped: no copy of it is left behind."""
    key = bytearray(SEAL_KEY_BYTES)
    source = os.open("/dev/urandom", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.readv(source, [key]) != len(key):
            raise OSError("the kernel gave no key")
    finally:
        os.close(source)
    return key
