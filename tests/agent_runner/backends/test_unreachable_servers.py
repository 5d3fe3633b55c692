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
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.key import KeyReference
from agent_runner.backends.retry import Patience
from agent_runner.backends.server import Server
from tests.contract.asking import asked, backend_for, refused
from tests.contract.model_server import Asked, Line, Saying, answer, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.contract.model_server import Dialect

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


async def test_a_redirect_is_told_with_its_place_and_is_no_reply() -> None:
    async with serving(answer(308, "", {"location": "https://models.example.com/v1"})) as server:
        error = await refused(backend(server.base_url("chat")))

    assert error.message.endswith("it redirects to `https://models.example.com/v1`, which is not followed")
    assert error.hint == "see `base_url` of this model in the configuration: is it `https://`, and whole?"


@pytest.mark.parametrize(
    ("dialect", "path", "meant"),
    [
        ("chat", "", "/v1"),
        ("chat", "/v1/chat/completions", "/v1"),
        ("messages", "/v1", ""),
        ("messages", "/v1/messages", ""),
    ],
)
async def test_a_base_url_that_looks_unlike_its_api_is_told_with_the_one_that_may_be_meant(
    dialect: Dialect, path: str, meant: str
) -> None:
    async with serving(answer(404, {"detail": "Not Found"})) as server:
        error = await refused(backend_for(server, dialect, base_url=server.origin + path))

    assert error.hint == f"is its `base_url` `{server.origin}{meant}`? see this model in the configuration"


@pytest.mark.parametrize(("dialect", "path"), [("chat", "/v1"), ("chat", "/openai"), ("messages", "")])
async def test_one_that_looks_like_it_is_not_doubted(dialect: Dialect, path: str) -> None:
    async with serving(answer(404, {"detail": "Not Found"})) as server:
        error = await refused(backend_for(server, dialect, base_url=server.origin + path))

    assert error.hint.startswith("the server has no such model or path")


async def test_silence_and_a_slow_reply_are_told_with_the_setting_that_bounds_them() -> None:
    async def wait(_line: Line, _asked: Asked) -> None:
        await asyncio.sleep(60)

    async with serving(wait) as server:
        silent = await refused(backend(server.base_url("chat"), silence_seconds=0.1))
        slow = await refused(backend(server.base_url("chat"), timeout_seconds=0.1))

    assert "`silence`" in silent.hint
    assert "`timeout`" in slow.hint


async def test_a_proxy_that_refuses_is_what_the_hint_is_about() -> None:
    async with serving(answer(501, "")) as proxy:
        error = await refused(backend("https://models.example.com/v1", proxy=proxy.origin))

    assert error.failure.kind == "unreachable"
    assert "see `proxy` of this model" in error.hint


@pytest.mark.parametrize("dialect", ["chat", "messages"])
@pytest.mark.parametrize("page", ["<!doctype html>", [], "7", "null"])
async def test_a_list_that_is_none_is_told_without_words_of_our_code(dialect: Dialect, page: object) -> None:
    async with serving(answer(200, page)) as server:
        asked_for = backend_for(server, dialect)
        with pytest.raises(ModelServerError) as caught:
            await asked_for.list_models()
        await asked_for.close()

    assert "attribute" not in caught.value.message
    assert "NoneType" not in caught.value.message
    assert "answered with what is no reply" in caught.value.message
