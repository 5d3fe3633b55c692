"""Servers with forged TLS, where the gate itself verifies them: each has one fault, their twin none."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sandbox.egress.errors import UpstreamError
from tests.attacks.through_proxy import through_tls
from tests.sandbox.egress.ground import (
    Server,
    gate_for,
    loopback_proxy,
    make_authority,
    rule,
    rules,
    serving,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.egress.ground import Authority

DAY: Final = dt.timedelta(days=1)
NOW: Final = dt.datetime.now(dt.UTC)
TO_SERVERS: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
TO_CLIENTS: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


@dataclass(frozen=True, kw_only=True)
class Made:
    """A certificate with its key, PEM, and who signs with it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def made(
    signer: Made,
    names: tuple[str, ...],
    *,
    valid: tuple[dt.timedelta, dt.timedelta] = (-DAY, DAY),
    usage: x509.ExtendedKeyUsage = TO_SERVERS,
) -> Made:
    """Sign a certificate of a server; the common name is always right, the other names are as given."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .issuer_name(signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + valid[0])
        .not_valid_after(NOW + valid[1])
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(map(general, names)), critical=False)
    return Made(certificate=builder.sign(signer.key, hashes.SHA256()), key=key)


def general(name: str) -> x509.GeneralName:
    """Return a name as a certificate has it."""
    return x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)


def presented(folder: Path, *chain: Made) -> ssl.SSLContext:
    """Return what a server presents: the first one's certificate and key, and the others' certificates."""
    file = folder / f"{chain[0].certificate.serial_number}.pem"
    private = chain[0].key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificates = [each.certificate.public_bytes(serialization.Encoding.PEM) for each in chain]
    file.write_bytes(private + b"".join(certificates))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def faults(folder: Path, authority: Authority) -> dict[str, ssl.SSLContext]:
    """Return servers by what is wrong with them."""
    root = Made(certificate=authority.certificate, key=authority.key)
    (folder / "other").mkdir()
    stranger = make_authority(folder / "other")
    other = Made(certificate=stranger.certificate, key=stranger.key)
    leaf = made(root, ("localhost",))
    alone = made(Made(certificate=leaf.certificate, key=leaf.key), ("localhost",))
    old = presented(folder, leaf)
    with pytest.warns(DeprecationWarning, match="deprecated"):
        old.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    return {
        "over": presented(folder, made(root, ("localhost",), valid=(-2 * DAY, -DAY))),
        "not begun": presented(folder, made(root, ("localhost",), valid=(DAY, 2 * DAY))),
        "another name": presented(folder, made(root, ("localhost.evil.com", "evil.com"))),
        "a name with a NUL": presented(folder, made(root, ("localhost\0.evil.com",))),
        "a common name alone": presented(folder, made(root, ())),
        "an address alone": presented(folder, made(root, ("127.0.0.1",))),
        "a wildcard for everything": presented(folder, made(root, ("*",))),
        "for clients": presented(folder, made(root, ("localhost",), usage=TO_CLIENTS)),
        "signed by a stranger of the same name": presented(folder, made(other, ("localhost",)), other),
        "signed by a leaf": presented(folder, alone, leaf),
        "TLS 1.1": old,
    }


async def test_a_server_with_forged_tls_is_sent_nothing_and_its_twin_is(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    root = Made(certificate=authority.certificate, key=authority.key)
    outcomes: dict[str, str] = {}
    forged = faults(tmp_path, authority)
    server = Server()
    listening = {
        name: await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
        for name, tls in {**forged, "twin": presented(tmp_path, made(root, ("localhost",)))}.items()
    }
    ports = {name: each.sockets[0].getsockname()[1] for name, each in listening.items()}
    allowed = rules(*(rule("localhost", port) for port in ports.values()))
    async with gate_for(allowed, ca_file=authority.file) as kept:
        for name, port in ports.items():
            try:
                answer = await kept.gate.request("GET", f"https://localhost:{port}/{port}")
                outcomes[name] = str(answer.status)
            except UpstreamError as error:
                outcomes[name] = error.code
    for each in listening.values():
        each.close()

    assert outcomes == dict.fromkeys(forged, "tls") | {"twin": "200"}
    assert [head.split(b" ")[1] for head in server.heads] == [b"/%d" % ports["twin"]]


async def test_a_program_is_told_that_a_certificate_is_forged_where_tls_ends(
    tmp_path: Path,
) -> None:
    """It trusts the gate, so the gate must not make a forged server look like a good one."""
    authority = make_authority(tmp_path)
    expired = faults(tmp_path, authority)["over"]
    async with serving(Server(), tls=expired) as server:
        read = rules(rule("localhost", server.port, paths=["/**"]))
        async with (
            gate_for(read, ca_file=authority.file, proxy=True) as kept,
            loopback_proxy(kept) as port,
        ):
            answer = await through_tls(port, server.port, "/x", kept.gate.ca_certificate)

    assert answer.startswith(b"HTTP/1.1 502")
    assert b'"code": "tls"' in answer
    assert server.heads == []
