"""What keeps a model's server from answering is named, and with it what an operator can do."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent_runner.backends.chat_completions import OpenAIBackend
from agent_runner.backends.key import KeyReference
from agent_runner.backends.retry import Patience
from agent_runner.backends.server import Server
from tests.contract.asking import asked, refused
from tests.contract.model_server import Asked, Line, Saying, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

YES: Final = Saying(text="Yes.").play("chat")


def backend(base_url: str, **more: Any) -> OpenAIBackend:
    """Return a backend that asks once."""
    server = Server(base_url=base_url, model="m", **more)
    return OpenAIBackend(server, name="default", patience=Patience(attempts=1))


async def test_a_key_that_is_not_set_is_told_with_where_to_put_it() -> None:
    error = await refused(backend("https://127.0.0.1:1/v1", key=KeyReference(env="NOT_SET_ANYWHERE")))

    assert error.failure.kind == "credential"
    assert error.message.endswith("environment variable NOT_SET_ANYWHERE is empty or not set")
    assert error.hint == "put it there, or see `key` of this model in the configuration"


async def test_a_host_that_has_no_address_is_unreachable() -> None:
    error = await refused(backend("https://no-such-host.invalid/v1"))

    assert error.failure.kind == "unreachable"
    assert error.hint.startswith("is the server up?")


async def test_a_server_without_tls_is_told_from_one_that_is_down() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    error = await refused(backend(f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"))
    listener.close()

    assert error.failure.kind == "unreachable"
    assert error.hint == "it speaks no TLS there: is its `base_url` one of `http://`?"


async def test_a_certificate_that_nobody_vouches_for_is_refused_until_the_operator_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _served_by_tls(tmp_path) as port:
        error = await refused(backend(f"https://localhost:{port}/v1"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        reply = await asked(backend(f"https://localhost:{port}/v1"))
        other = await refused(backend(f"https://127.0.0.1:{port}/v1"))

    assert error.failure.kind == other.failure.kind == "unreachable"
    assert "CERTIFICATE_VERIFY_FAILED" in error.message
    assert "`SSL_CERT_FILE` names a file with the authority's" in error.hint
    assert reply.text == "Yes."


def _says_no_farewell(descriptor: int) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def _damages_a_record(descriptor: int) -> None:
    os.write(descriptor, b"\x17\x03\x03\x00\x20" + b"x" * 32)


@pytest.mark.parametrize("breaks", [_says_no_farewell, _damages_a_record])
async def test_tls_that_breaks_in_mid_reply_is_a_reply_that_broke_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: Callable[[int], None]
) -> None:
    """An end without `close_notify` looks like one; a damaged record is an error that HTTP does not name."""

    async def play(line: Line, _asked: Asked) -> None:
        await line.head(200, {"content-type": "text/event-stream"})
        await line.send("".join(Saying(text="It is half of").pieces("chat")[:3]))
        breaks(line.writer.get_extra_info("socket").fileno())
        await asyncio.sleep(0)

    async with _served_by_tls(tmp_path, play) as port:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
        error = await refused(backend(f"https://localhost:{port}/v1"))

    assert error.failure.kind == "broken"
    assert error.message.startswith(f"`localhost:{port}` broke off")


async def test_a_list_that_drips_is_given_up_with_its_time() -> None:
    async def play(line: Line, _asked: Asked) -> None:
        await line.head(200, {"content-type": "application/json"})
        while not line.closed.is_set():
            await line.send(b" ")
            await asyncio.sleep(0.05)

    async with serving(play) as server:
        error = await refused(backend(server.base_url("chat"), stream=False, timeout_seconds=1.0))
        await server.gone()

    assert error.failure.kind == "timeout"
    assert "did not finish its reply within 1 s" in error.message


@asynccontextmanager
async def _served_by_tls(
    folder: Path, play: Callable[[Line, Asked], Awaitable[None]] = YES
) -> AsyncIterator[int]:
    """Serve one reply with a certificate of its own making, for `localhost`; give the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        line = Line(writer, asyncio.Event())
        await play(line, Asked("POST", "", {}, b""))
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=_certified(folder))
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()


def _certified(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    begin = datetime.now(UTC) - timedelta(days=1)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    dated = made.serial_number(1).not_valid_before(begin).not_valid_after(begin + timedelta(days=9))
    named = dated.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    pem = serialization.Encoding.PEM
    shape = (pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "certificate.pem").write_bytes(named.sign(key, hashes.SHA256()).public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(*shape))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context
