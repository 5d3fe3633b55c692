"""Write authorities in the form that Java reads: a JKS keystore, made from PEM. Pure.

The form is that of the JDK's `sun.security.provider.JavaKeyStore`: a head, the certificates, and a SHA-1 over
a password and all of it, which Java checks only where it is given the password. It guards nothing.
"""

from __future__ import annotations

from _sha1 import sha1  # type: ignore[import-not-found,unused-ignore]
from binascii import Error, a2b_base64
from struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----"
_SEQUENCE = b"\x30"
"""What every certificate begins with in DER (X.690 8.9, RFC 5280 4.1)."""
_MAGIC = 0xFEEDFEED
_VERSION = 2
_TRUSTED = 2
_PASSWORD = "changeit"  # noqa: S105 (the one that Java's own tools expect of such a file)


def java_keystore(pem: bytes) -> bytes:
    """Return a keystore that trusts the certificates of a PEM file, each once.

    Args:
        pem: Certificates; whatever stands between them is left out, and so is what is not base64, or of which
            the first byte is not that of a certificate.
    """
    certificates = list(dict.fromkeys(_certificates(pem)))
    pieces = [pack(">III", _MAGIC, _VERSION, len(certificates))]
    for number, certificate in enumerate(certificates):
        alias = str(number).encode()
        pieces.append(pack(">IH", _TRUSTED, len(alias)) + alias + bytes(8))  # 8 bytes: when it was added
        pieces.append(pack(">H", 5) + b"X.509" + pack(">I", len(certificate)) + certificate)
    content = b"".join(pieces)
    check: bytes = sha1(_PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + content).digest()
    return content + check


def _certificates(pem: bytes) -> Iterator[bytes]:
    at = 0
    while (begin := pem.find(_BEGIN, at)) >= 0 and (end := pem.find(_END, begin)) >= 0:
        at = end
        try:
            found = a2b_base64(pem[begin + len(_BEGIN) : end])
        except Error:
            continue
        if found.startswith(_SEQUENCE):  # Java reads no keystore at all in which one is no certificate
            yield found
