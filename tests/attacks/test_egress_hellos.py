"""Attacks with ClientHellos, B73 and B75: a tunnel's server is asked for no name but the tunnel's."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from sandbox.egress.errors import EgressDeniedError, UpstreamError
from sandbox.egress.hello import asks_again, parse_hello
from tests.attacks.through_proxy import say
from tests.sandbox.egress.ground import (
    Authority,
    Server,
    gate_for,
    loopback_proxy,
    make_authority,
    rule,
    rules,
    serving,
)
from tests.sandbox.egress.test_egress_parsing import hello_of, with_extension

if TYPE_CHECKING:
    from collections.abc import Callable

TUNNEL, OTHER = b"localhost", b"evil.host"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority that no real server trusts."""
    return make_authority(tmp_path_factory.mktemp("authority"))


def sni(*names: bytes) -> bytes:
    """Return the body of a server_name extension."""
    listed = b"".join(b"\0" + len(name).to_bytes(2) + name for name in names)
    return len(listed).to_bytes(2) + listed


def records(hello: bytes, size: int) -> bytes:
    """Cut a ClientHello of one record into records of at most so many bytes."""
    body = hello[5:]
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in parts)


def named(*names: bytes) -> bytes:
    return with_extension(hello_of(None), 0, sni(*names))


REFUSED = {
    "another name": hello_of("evil.host"),
    "no name": hello_of(None),
    "two names": named(TUNNEL, OTHER),
    "two names, the tunnel's last": named(OTHER, TUNNEL),
    "two extensions of names": with_extension(with_extension(hello_of(None), 0, sni(TUNNEL)), 0, sni(OTHER)),
    "an address as a name": named(b"127.0.0.1"),
    "a NUL behind the name": named(TUNNEL + b"\0" + OTHER),
    "a name of another kind": with_extension(hello_of(None), 0, b"\0\x0c\1\0\x09" + TUNNEL),
    "an empty name": named(b""),
    "an empty list": with_extension(hello_of(None), 0, b"\0\0"),
    "a name below the tunnel's": named(b"x." + TUNNEL),
    "two trailing dots": named(TUNNEL + b".."),
    "bytes behind the list": with_extension(hello_of(None), 0, sni(TUNNEL) + b"\0"),
    "a name that is not ASCII": named("localh\u00f6st".encode()),
    "ECH, or GREASE in its place": with_extension(hello_of("localhost"), 0xFE0D, bytes(40)),
    "ECH of draft 10": with_extension(hello_of("localhost"), 0xFE0A, bytes(40)),
    "ESNI of the first drafts": with_extension(hello_of("localhost"), 0xFFCE, bytes(40)),
    "ECH in many records": records(with_extension(hello_of("localhost"), 0xFE0D, bytes(40)), 11),
    "another name in many records": records(hello_of("evil.host"), 3),
    "longer than 16 KiB": records(with_extension(hello_of("localhost"), 0x4A4A, bytes(16_400)), 8000),
    "a second hello in the same record": (
        b"\x16\x03\x01" + (2 * len(hello_of("localhost")) - 10).to_bytes(2)
        + hello_of("localhost")[5:] + hello_of("localhost")[5:]
    ),
    "an empty record first": b"\x16\x03\x01\0\0" + hello_of("localhost"),
    "an alert first": b"\x15\x03\x01\0\2\1\0" + hello_of("localhost"),
    "a change of ciphers first": b"\x14\x03\x01\0\1\1" + hello_of("localhost"),
    "a record of another version": b"\x16\x04" + hello_of("localhost")[2:],
    "the hello of SSL 2": b"\x80\x2e\1\0\2\0\x15\0\0\0\x10" + bytes(37),
}  # fmt: skip
ALLOWED = {
    "the tunnel's name": hello_of("localhost"),
    "in capital letters": named(b"LOCALHOST"),
    "with its dot": named(TUNNEL + b"."),
    "in many records": records(hello_of("localhost"), 1),
    "nearly 16 KiB": records(with_extension(hello_of("localhost"), 0x4A4A, bytes(15_000)), 8000),
    "an extension like GREASE of RFC 8701": with_extension(hello_of("localhost"), 0x4A4A, b""),
}


async def test_b75_no_hello_for_another_name_reaches_a_server_however_it_is_written() -> None:
    """The twins, each in a tunnel of its own, do."""
    carried: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carried.append(await reader.read(65536))
        writer.write(b"\x15\x03\x01\0\2\2\x28")
        writer.close()

    listening = await asyncio.start_server(keep, "127.0.0.1", 0)
    to = listening.sockets[0].getsockname()[1]
    async with (
        listening,
        gate_for(rules(rule("localhost", to)), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        head = f"CONNECT localhost:{to} HTTP/1.1\r\nHost: localhost:{to}\r\n\r\n".encode()
        for name, hello in REFUSED.items():
            answer = await say(port, head, more=hello)
            assert b"established" in answer, name
            assert not any(carried), name
            assert kept.verdicts[-1] == ("denied", "protocol"), name
            carried.clear()
        for name, hello in ALLOWED.items():
            answer = await say(port, head, more=hello)
            assert answer.endswith(b"\x15\x03\x01\0\2\2\x28"), name
            assert carried == [hello], name
            carried.clear()


def evil(flight: bytes) -> bytes:
    return flight.replace(TUNNEL, OTHER)


def evil_behind_early_data(flight: bytes) -> bytes:
    return b"\x17\x03\x03\0\x10" + bytes(16) + evil(flight)


def evil_in_pieces(flight: bytes) -> bytes:
    changed = evil(flight)
    at = 6 if changed[0] == 0x14 else 0  # a change of ciphers stands first
    return changed[:at] + records(changed[at:], 5)


def hidden(flight: bytes) -> bytes:
    at = 6 if flight[0] == 0x14 else 0
    return flight[:at] + with_extension(flight[at:], 0xFE0D, bytes(40))


@pytest.mark.parametrize("change", [evil, evil_behind_early_data, evil_in_pieces, hidden])
async def test_b75_the_second_hello_that_a_server_asks_for_cannot_name_another_host(
    authority: Authority, change: Callable[[bytes], bytes]
) -> None:
    """HelloRetryRequest: OpenSSL takes the second name. The twins are an honest one, and no gate at all."""
    seen: list[str | None] = []
    tls = authority.server("localhost")
    tls.set_ecdh_curve("secp384r1")  # of which no client sends a key unasked
    tls.sni_callback = lambda _tls, name, _context: seen.append(name)
    async with (
        serving(Server(), tls=tls) as server,
        gate_for(rules(rule("localhost", server.port)), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        head = f"CONNECT localhost:{server.port} HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode()
        honest = await two_hellos(port, head, authority, bytes)
        seen_of_honest = list(seen)
        fronted = await two_hellos(port, head, authority, change)
        seen_of_fronted = seen[len(seen_of_honest) :]
        seen.clear()
        await two_hellos(server.port, b"", authority, evil)

    assert (honest, fronted) == ("answered", "cut off")
    assert seen_of_honest == ["localhost", "localhost"]
    assert seen_of_fronted == ["localhost"]
    assert seen == ["localhost", "evil.host"]
    assert kept.verdicts == [("allowed", ""), ("allowed", ""), ("denied", "protocol")]


async def two_hellos(port: int, head: bytes, authority: Authority, change: Callable[[bytes], bytes]) -> str:
    """Shake hands as far as the answer to a second hello, which is changed on its way."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context(cafile=authority.file).wrap_bio(
        incoming, outgoing, server_hostname="localhost"
    )
    try:
        writer.write(head)
        if head:
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        writer.write(outgoing.read())
        while not asks_again(again := await asyncio.wait_for(reader.read(4096), 30)):
            assert again
        incoming.write(again)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        writer.write(change(outgoing.read()))
        return "answered" if await asyncio.wait_for(reader.read(4096), 30) else "cut off"
    except ConnectionError:
        return "cut off"
    finally:
        writer.transport.abort()


def test_a_servers_first_words_are_known_in_any_split_and_whatever_they_are() -> None:
    retry = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
    hello = b"\2\0\0\x54\3\3" + retry + bytes(50)
    other = b"\2\0\0\x54\3\3" + bytes(82)

    def record(body: bytes, size: int) -> bytes:
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        return b"".join(b"\x16\x03\x03" + len(part).to_bytes(2) + part for part in parts)

    for size in (1, 7, 1000):
        assert asks_again(record(hello, size)) is True
        assert asks_again(record(other, size)) is False
        decided = [asks_again(record(hello, size)[:cut]) for cut in range(len(record(hello, size)))]
        assert set(decided) == {None, True}
        assert decided == sorted(decided, key=bool)
    assert asks_again(b"") is None
    assert asks_again(b"\x15\x03\x03\0\2\2\x28") is False
    assert asks_again(b"HTTP/1.1 400 Bad Request\r\n") is False


EMPTY = b"\x16\x03\x03\0\0"


@pytest.mark.parametrize("before", [b"", b"\x16\x03\x03\0\1\2", EMPTY * 9], ids=["first", "second", "tenth"])
def test_an_empty_record_of_a_servers_handshake_is_refused_wherever_it_stands(before: bytes) -> None:
    """The twin, cut off before its length is whole, is waited for."""
    with pytest.raises(UpstreamError) as failed:
        asks_again(before + EMPTY)
    assert failed.value.code == "tls"
    assert asks_again(before.removeprefix(EMPTY * 9) + EMPTY[:4]) is None


async def test_a_server_that_repeats_empty_records_is_cut_off_before_anything_is_handed_on() -> None:
    """RFC 8446 5.1. Each would have all before it looked at again, in a tunnel that never decides."""

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(EMPTY * 100)
        with suppress(ConnectionResetError):
            await reader.read()
        writer.close()

    listening = await asyncio.start_server(repeat, "127.0.0.1", 0)
    to = listening.sockets[0].getsockname()[1]
    async with (
        listening,
        gate_for(rules(rule("localhost", to)), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        head = f"CONNECT localhost:{to} HTTP/1.1\r\nHost: localhost:{to}\r\n\r\n".encode()
        answer = await say(port, head, more=hello_of("localhost"))

    assert answer.endswith(b"\r\n\r\n")
    assert b"established" in answer
    assert [event.why for event in kept.closed] == ["tls"]


@pytest.mark.parametrize("missing", [1, 6, 40])
def test_a_hello_is_not_judged_before_the_end_of_its_record(missing: int) -> None:
    hello = hello_of("localhost")
    behind = hello[:3] + (len(hello) - 5 + 4).to_bytes(2) + hello[5:] + b"\1\0\0\0"

    assert parse_hello(hello[:-missing]) is None
    with pytest.raises(EgressDeniedError, match="stands behind"):
        parse_hello(behind[: len(behind) - min(missing, 4)])
