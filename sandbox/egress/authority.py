"""Be one session's certificate authority: it lives in this process's memory and signs for its rules only."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from policies.hosts import is_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from policies.hosts import HostPattern

LIFE: Final = dt.timedelta(days=7)
CLOCK_SKEW: Final = dt.timedelta(hours=1)
MOST_CONTEXTS: Final = 256
_EVERY_ADDRESS: Final = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


class SessionAuthority:
    """Sign for the hosts whose requests are read.

    Args:
        hosts: The hosts of the rules that read requests; the name constraints allow no other.
        now: The time.
    """

    def __init__(self, hosts: Iterable[HostPattern], *, now: dt.datetime) -> None:
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pairlock session authority")])
        self._certificate = self._make(tuple(hosts))
        self._contexts: dict[str, ssl.SSLContext] = {}

    @property
    def pem(self) -> str:
        """The certificate that the container trusts."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    def context(self, host: str) -> ssl.SSLContext:
        """Return what the gate presents as a host.

        Args:
            host: Canonical; one that a rule allows.
        """
        if (known := self._contexts.get(host)) is not None:
            return known
        if len(self._contexts) >= MOST_CONTEXTS:
            self._contexts.clear()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._load(context, self._leaf(host))
        self._contexts[host] = context
        return context

    def _make(self, hosts: tuple[HostPattern, ...]) -> x509.Certificate:
        names = {pattern.text.removeprefix("*.") for pattern in hosts}
        permitted = [_general(name, whole=False) for name in sorted(names)]
        addressed = any(is_address(name) for name in names)
        excluded = None if addressed else [x509.IPAddress(network) for network in _EVERY_ADDRESS]
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.NameConstraints(permitted or None, excluded), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _leaf(self, host: str) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        return (
            self._builder(name, self._leaf_key.public_key())
            .add_extension(x509.SubjectAlternativeName([_general(host, whole=True)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._leaf_key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - CLOCK_SKEW)
            .not_valid_after(self._now + LIFE)
        )

    def _load(self, context: ssl.SSLContext, leaf: x509.Certificate) -> None:
        """Hand the key to OpenSSL through pipes: it reads only files, and the key must not be one."""
        chain = leaf.public_bytes(serialization.Encoding.PEM)
        key = self._leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        first, second = _filled(chain), _filled(key)
        try:
            context.load_cert_chain(f"/proc/self/fd/{first}", f"/proc/self/fd/{second}")
        finally:
            os.close(first)
            os.close(second)


def _filled(content: bytes) -> int:
    """Return the reading end of a pipe that holds a few kilobytes."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(content)
    return reading


def _general(name: str, *, whole: bool) -> x509.GeneralName:
    if not is_address(name):
        return x509.DNSName(name)
    return x509.IPAddress(ipaddress.ip_address(name) if whole else ipaddress.ip_network(name))
