"""Servers on loopback, an authority of the tests' own, and gates whose events are kept."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from policies.hosts import HostPattern
from policies.urls import UrlPath
from sandbox.egress.errors import GateLostError
from sandbox.egress.events import Closed, Decided, Spent
from sandbox.egress.gate import EgressGate
from sandbox.egress.owner import no_credentials, nobody
from sandbox.egress.rules import Crossed, Limits, Rule, RuleSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from sandbox.egress.events import Event

OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
VALID_FROM = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
VALID_TO = VALID_FROM + dt.timedelta(days=30)


@dataclass
class Server:
    """An HTTP server that gives one answer to everything and keeps what it was sent."""

    answer: bytes = OK
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        self.connections += 1
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except (asyncio.IncompleteReadError, OSError):
            writer.transport.abort()


@asynccontextmanager
async def serving(server: Server, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve on a loopback port."""
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


def rule(host: str, port: int, **more: object) -> Rule:
    """Write a rule for a test's server, which is on loopback."""
    paths = more.pop("paths", None)
    groups = (tuple(UrlPath.parse(text) for text in paths),) if paths else ()  # type: ignore[attr-defined]
    wanted = {"allow_private": True, "paths": groups, **more}
    return Rule(host=HostPattern.parse(host), ports=(port,), **wanted)  # type: ignore[arg-type]


def rules(*several: Rule, **limits: float) -> RuleSet:
    """Write the rules of a session."""
    return RuleSet(rules=several, limits=Limits(**limits))  # type: ignore[arg-type]


@dataclass
class Kept:
    """A gate and the events that it told."""

    gate: EgressGate
    events: list[Event]

    @property
    def verdicts(self) -> list[tuple[str, str]]:
        """Verdict and code of each decision."""
        return [(event.verdict, event.code) for event in self.decided]

    @property
    def closed(self) -> list[Closed]:
        """The connections' ends."""
        return [event for event in self.events if isinstance(event, Closed)]

    @property
    def decided(self) -> list[Decided]:
        """The decisions."""
        return [event for event in self.events if isinstance(event, Decided)]

    @property
    def spent(self) -> list[tuple[str, int]]:
        """Name and bound of each limit that was reached."""
        return [(event.limit, event.bound) for event in self.events if isinstance(event, Spent)]


@asynccontextmanager
async def gate_for(  # noqa: PLR0913 - settings with defaults
    allowed: RuleSet,
    *,
    ca_file: Path | None = None,
    journal: Callable[[Event], Awaitable[None]] | None = None,
    credentials: object = no_credentials,
    approval: object = nobody,
    proxy: bool = False,
    crossed: tuple[Crossed, ...] = (),
    numbered: int = 0,
) -> AsyncIterator[Kept]:
    """Start a real gate and keep its events."""
    events: list[Event] = []

    async def keep(event: Event) -> None:
        events.append(event)

    async with EgressGate.start(
        allowed,
        journal=journal or keep,
        credentials=credentials,  # type: ignore[arg-type]
        approval=approval,  # type: ignore[arg-type]
        ca_file=ca_file,
        proxy=proxy,
        crossed=crossed,
        numbered=numbered,
    ) as gate:
        yield Kept(gate, events)


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the tests' own."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def file(self) -> Path:
        """Its certificate, PEM."""
        return self.folder / "ca.pem"

    def server(self, *names: str) -> ssl.SSLContext:
        """Return what a server of these names presents."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(names[0], self.certificate.subject, key)
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        path = self.folder / f"{names[0]}.pem"
        path.write_bytes(_pem(certificate, key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID_FROM)
        .not_valid_after(VALID_TO)
    )


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_authority(folder: Path) -> Authority:
    """Make an authority whose files lie in a folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the tests' own authority")])
    certificate = (
        _builder("the tests' own authority", name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "ca-and-key.pem").write_bytes(_pem(certificate, key))
    return Authority(folder, key, certificate)


def load_authority(folder: Path) -> Authority:
    """Return the authority whose files lie in a folder."""
    both = (folder / "ca-and-key.pem").read_bytes()
    key = serialization.load_pem_private_key(both, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Authority(folder, key, x509.load_pem_x509_certificate(both))


@asynccontextmanager
async def loopback_proxy(kept: Kept) -> AsyncIterator[int]:
    """Stand in for the guest: a loopback port whose connections are copied into the gate's proxy."""
    copying: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(copy(reader, writer))
        copying.add(task)
        task.add_done_callback(copying.discard)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        async def received() -> AsyncIterator[bytes]:
            while data := await reader.read(65536):
                yield data

        try:
            await kept.gate.relay(received(), send, writer.write_eof)
            writer.close()
            await writer.wait_closed()
        except (OSError, GateLostError):
            writer.transport.abort()
        except asyncio.CancelledError:  # the test is over
            writer.transport.abort()
            raise

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]
        for task in tuple(copying):
            task.cancel()
        await asyncio.gather(*copying, return_exceptions=True)
