"""Roads to a second engine: a network namespace with certificates of its own, and an sshd on loopback."""

from __future__ import annotations

import datetime as dt
import getpass
import ipaddress
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.promises.second_engine import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Authority:
    """A certificate authority of a test's own."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, name: str = "a test's authority") -> Authority:
        """Make one."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, _signed(name, key, name, key, authority=True))

    def issue(self, folder: Path, name: str, *, address: str = "") -> Path:
        """Write ca.pem, cert.pem and key.pem into a folder, as Docker's clients and engines want them."""
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _signed(name, key, "a test's authority", self.key, address=address)
        for file, content in (("ca.pem", self.certificate), ("cert.pem", certificate)):
            (folder / file).write_bytes(content.public_bytes(serialization.Encoding.PEM))
        (folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        (folder / "key.pem").chmod(0o600)
        return folder


def _signed(  # noqa: PLR0913 - what a certificate is made of
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    *,
    authority: bool = False,
    address: str = "",
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        builder = builder.add_extension(usage, critical=False)
    if address:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())


@dataclass(frozen=True)
class Far:
    """A network namespace, and the pair of interfaces that leads there."""

    name: str
    address: str
    """Of its end."""
    near: str
    """Name of our interface."""

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Cut the wire for a while: nothing arrives any more, and nobody is told."""
        _ip("link", "set", self.near, "down")
        try:
            yield
        finally:
            _ip("link", "set", self.near, "up")

    @property
    def prefix(self) -> tuple[str, ...]:
        """Return the command that runs another one there."""
        return ("nsenter", f"--net=/run/netns/{self.name}")


@contextmanager
def far_place() -> Iterator[Far]:
    """Make a network namespace; needs root."""
    name = f"pl{secrets.token_hex(3)}"
    third, fourth = secrets.randbelow(250), 4 * secrets.randbelow(60)
    ours, theirs = f"10.213.{third}.{fourth + 1}", f"10.213.{third}.{fourth + 2}"
    nowhere = ("blackhole", f"10.213.{third}.{fourth}/30", "metric", "4096")
    with ExitStack() as stack:
        _ip("netns", "add", name)
        stack.callback(_ip, "netns", "del", name)
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        stack.callback(_ip, "link", "del", name)
        # Once the wire is cut, what is sent there must not leave by another way.
        _ip("route", "add", *nowhere)
        stack.callback(_ip, "route", "del", *nowhere)
        _ip("addr", "add", f"{ours}/30", "dev", name)
        _ip("link", "set", name, "up")
        for command in (("addr", "add", f"{theirs}/30", "dev", "eth0"), ("link", "set", "eth0", "up")):
            _ip("-n", name, *command)
        yield Far(name, theirs, name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass(frozen=True)
class Sshd:
    """An sshd on loopback, and an ssh that knows its key and has one of its own."""

    port: int
    path: str
    """A folder for PATH, in which `ssh` is the real one with this test's configuration."""
    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def destination(self) -> str:
        """Return `user@host:port`."""
        return f"{getpass.getuser()}@127.0.0.1:{self.port}"

    def calls(self) -> list[int]:
        """Return the processes that serve connections."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop what serves connections for a while: they are cut, and nobody is told."""
        calls = self.calls()
        for call in calls:
            os.kill(call, signal.SIGSTOP)
        try:
            yield
        finally:
            for call in calls:
                with suppress(ProcessLookupError):
                    os.kill(call, signal.SIGCONT)


@contextmanager
def sshd() -> Iterator[Sshd]:
    """Run one with keys of its own; needs root, and Debian's openssh-server."""
    folder = Path(tempfile.mkdtemp(prefix="pl-ssh-"))
    for name in ("host", "mine"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "authorized").write_text((folder / "mine.pub").read_text())
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized\nPasswordAuthentication no\nPermitRootLogin yes\n"
        "UsePAM no\nMaxStartups 100\nMaxSessions 100\n"
    )
    (folder / "config").write_text(
        f"IdentityFile {folder}/mine\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known\n"
        "GlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\nBatchMode yes\n"
    )
    (folder / "bin").mkdir()
    (folder / "bin" / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {folder}/config "$@"\n')
    (folder / "bin" / "ssh").chmod(0o755)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log
        )
    try:
        wait_for(lambda: _listens(port), "sshd")
        path = f"{folder / 'bin'}:{os.environ['PATH']}"
        yield Sshd(port, path, process, folder)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False
