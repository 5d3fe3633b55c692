"""Read the server's name out of a TLS ClientHello, put together from its records. Pure: bytes in, a name out.

RFC 8446 4.1.2 (ClientHello), 4.1.3 (HelloRetryRequest), 5.1 (records); RFC 6066 3 (server_name); RFC 9849
(encrypted_client_hello). A client that has no key sends the same extension with random bytes ("GREASE", 6.2),
made so that nobody on the way can tell the two apart: both are refused where TLS passes through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from policies.errors import BadValueError
from policies.hosts import canonical_host, is_address
from sandbox.egress.errors import EgressDeniedError, UpstreamError

LARGEST_HELLO_BYTES: Final = 16 * 1024
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_SERVER_HELLO: Final = 2
_HIDING: Final = frozenset({0xFE0D, *range(0xFE08, 0xFE0D), 0xFF02, 0xFFCE})
"""encrypted_client_hello, also as drafts numbered it; encrypted_server_name of the first ones."""
_RETRY: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random of a ServerHello that asks for another ClientHello."""
_RANDOM_ENDS_AT: Final = 38
_RECORD_HEAD_BYTES: Final = 5
_HINT: Final = "speak TLS with the host's name, or plain HTTP to it"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHello:
    """What a client says first."""

    server_name: str | None
    """Canonical; None when it names none."""
    encrypted: bool
    """Whether the name that counts may be in an encrypted part."""
    record_bytes: int
    """Length of the records that it came in; nothing else is in them."""


def is_tls(first: bytes) -> bool:
    """Tell whether bytes begin like a TLS handshake."""
    return first[:1] == bytes([_HANDSHAKE])


def parse_hello(data: bytes) -> ClientHello | None:
    """Read a ClientHello.

    Args:
        data: Everything that the client has sent so far.

    Returns:
        What it says; None when more bytes are needed.

    Raises:
        EgressDeniedError: With code `protocol`, when it is none, is too long or contradicts itself.
    """
    found = _message(data)
    if found is None:
        return None
    message, record_bytes = found
    try:
        return _hello(_Cursor(message), record_bytes)
    except (IndexError, BadValueError, UnicodeDecodeError) as error:
        raise _refused("the TLS ClientHello is not well formed") from error


def check_hello(hello: ClientHello, *, host: str, ends_here: bool) -> None:
    """Refuse a ClientHello that asks for another name than the tunnel did.

    Args:
        hello: What the client says.
        host: The canonical host that the tunnel is for.
        ends_here: Whether TLS ends at the gate, so that an encrypted part cannot matter.

    Raises:
        EgressDeniedError: With code `protocol`.
    """
    if hello.encrypted and not ends_here:
        raise _refused("the TLS ClientHello hides its server name (ECH)", hint="turn ECH off in the client")
    expected = None if is_address(host) else host
    if hello.server_name != expected:
        named = f"`{hello.server_name}`" if hello.server_name else "no name"
        raise _refused(f"the TLS ClientHello asks for {named}, the tunnel is to `{host}`")


class _Cursor:
    """Bytes that are taken from the front; taking too many raises IndexError."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        if count > len(self.data):
            raise IndexError(count)
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> _Cursor:
        return _Cursor(self.take(self.number(size)))


def asks_again(data: bytes) -> bool | None:
    """Tell whether a server's first words ask for another ClientHello.

    Args:
        data: Everything that the server has sent so far.

    Returns:
        Whether they do; None when more bytes are needed.

    Raises:
        UpstreamError: When a record of the handshake is empty, which RFC 8446 5.1 forbids: nothing would ever
            be decided, and each of its bytes would have all before it looked at again.
    """
    message = b""
    at = 0
    while at < len(data) and len(message) < _RANDOM_ENDS_AT:
        if data[at] != _HANDSHAKE:
            return False
        body = at + _RECORD_HEAD_BYTES
        end = body + int.from_bytes(data[at + 3 : body])
        if body == end and body <= len(data):
            raise UpstreamError("tls", "the server sent an empty record of a TLS handshake")
        message += data[body:end]
        at = end
    if len(message) < _RANDOM_ENDS_AT:
        return None
    return message[0] == _SERVER_HELLO and message[6:_RANDOM_ENDS_AT] == _RETRY


def _message(data: bytes) -> tuple[bytes, int] | None:
    """Put the handshake message together, and tell where its records end; None when it is not whole."""
    message = bytearray()
    at = 0
    while len(data) - at >= 5:
        kind, major, length = data[at], data[at + 1], int.from_bytes(data[at + 3 : at + 5])
        if kind != _HANDSHAKE or major != 3 or not 0 < length <= 2**14:
            raise _refused("the tunnel's first bytes are not a TLS ClientHello")
        message += data[at + 5 : at + 5 + length]
        at += 5 + length
        if len(message) >= 4:
            needed = 4 + int.from_bytes(message[1:4])
            if message[0] != _CLIENT_HELLO or needed > LARGEST_HELLO_BYTES:
                raise _refused("the tunnel's first bytes are not a TLS ClientHello, or one that is too long")
            if len(message) + max(at - len(data), 0) > needed:
                raise _refused("something stands behind the TLS ClientHello in its record")
            if len(message) == needed:
                return bytes(message), at
    if len(data) > LARGEST_HELLO_BYTES + 1024 or (data and data[0] != _HANDSHAKE):
        raise _refused("the tunnel's first bytes are not a TLS ClientHello, or one that is too long")
    return None


def _hello(message: _Cursor, record_bytes: int) -> ClientHello:
    message.take(4 + 2 + 32)  # the message's head, legacy_version, random
    message.vector(1)  # legacy_session_id
    message.vector(2)  # cipher_suites
    message.vector(1)  # legacy_compression_methods
    if not message.data:
        return ClientHello(server_name=None, encrypted=False, record_bytes=record_bytes)
    extensions = message.vector(2)
    if message.data:
        raise IndexError
    found: dict[int, _Cursor] = {}
    while extensions.data:
        kind = extensions.number(2)
        if kind in found:
            raise IndexError(kind)
        found[kind] = extensions.vector(2)
    name = _server_name(found[_SERVER_NAME]) if _SERVER_NAME in found else None
    return ClientHello(server_name=name, encrypted=bool(_HIDING & found.keys()), record_bytes=record_bytes)


def _server_name(extension: _Cursor) -> str:
    names = extension.vector(2)
    kind, name = names.number(1), names.vector(2)
    if kind != 0 or names.data or extension.data:
        raise IndexError(kind)
    return canonical_host(name.data.decode("ascii"))


def _refused(message: str, *, hint: str = _HINT) -> EgressDeniedError:
    return EgressDeniedError("protocol", message, hint=hint)
