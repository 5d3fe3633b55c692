"""A server that sends the credential back in every place of an answer: the container gets none of it."""

from __future__ import annotations

import asyncio
import base64
import gzip
from typing import TYPE_CHECKING

from sandbox.egress.credentials import Credential, Mask
from tests.attacks.through_proxy import through_tls
from tests.sandbox.egress.ground import gate_for, loopback_proxy, rule, rules, serving

if TYPE_CHECKING:
    from tests.sandbox.egress.ground import Authority, Kept

SECRET = "tok-Ab3/x+Zz9"  # noqa: S105 - made up
RAW = SECRET.encode()
SPELT = {
    RAW, RAW.lower(), RAW.hex().encode(), b"tok-Ab3%2Fx%2BZz9", rb"tok-Ab3\/x+Zz9",
    *(base64.b64encode(bytes(shift) + RAW)[(0, 2, 3)[shift] : -4] for shift in range(3)),
    b"tok-Ab3%2fx%2bZz9", SECRET.encode("utf-16-le"), b"u0074\\u006f\\u006b", b"&#116;&#111;&#107;",
}  # fmt: skip


def plain(body: bytes, *headers: bytes) -> bytes:
    """Write an answer."""
    lines = (b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(body: bytes) -> bytes:
    """Write an answer in which each byte is a chunk; extensions and trailer hold the credential, too."""
    chunks = b"".join(b"1;x=%b\r\n%c\r\n" % (RAW, byte) for byte in body)
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + chunks + b"0\r\nx-trailer: %b\r\n\r\n" % RAW


ANSWERS = {
    "/body": plain(b"sent: " + RAW),
    "/again": plain(RAW * 400),
    "/header": plain(b"", b"x-echo: Bearer " + RAW),
    "/name": plain(b"", b"x-%b: 1" % RAW.replace(b"/", b"%2F").replace(b"+", b"%2B")),
    "/hex": plain(RAW.hex().encode()),
    "/url": plain(b"?q=tok-Ab3%2Fx%2BZz9"),
    "/json": plain(rb'{"token": "tok-Ab3\/x+Zz9"}'),
    "/base64": plain(base64.b64encode(b"user:" + RAW) + b" " + base64.b64encode(b"Bearer " + RAW)),
    "/reason": plain(b"").replace(b"OK", RAW),
    "/chunks": chunked(b"<" + RAW + b">"),
    "/interim": b"HTTP/1.1 103 Early\r\nlink: %b\r\n\r\n" % RAW + plain(b"x"),
    "/illegal": plain(b"", b"x: %b\0" % RAW),
    "/status": b"HTTP/1.1 %b OK\r\n\r\n" % RAW,
    "/version": b"%b 200 OK\r\n\r\n" % RAW,
    "/length": b"HTTP/1.1 200 OK\r\ncontent-length: %b\r\n\r\n" % RAW,
    "/location": plain(b"", b"location: https://evil.example/?t=tok-Ab3%2fx%2bZz9").replace(
        b"200 OK", b"302 F"
    ),
    "/error": plain(b"no such token: " + RAW).replace(b"200 OK", b"404 No"),
    "/escaped": plain("".join(f"\\u{ord(char):04x}" for char in SECRET).encode()),
    "/entities": plain("".join(f"&#{ord(char)};" for char in SECRET).encode()),
    "/wide": plain(SECRET.encode("utf-16-le")),
    "/part": plain(RAW[:5], b"content-range: bytes 0-4/13").replace(b"200 OK", b"206 Part"),
    "/brotli": plain(b"x", b"content-encoding: br"),
    "/zstandard": plain(b"x", b"Content-Encoding: identity, zstd"),
    "/coded": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "/chunk-size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%b\r\n" % RAW,
    "/encoding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: %b\r\n\r\n" % RAW,
    "/gzip": plain(gzip.compress(RAW), b"content-encoding: gzip"),
    "/compressed-kind": plain(b"x", b"content-encoding: " + RAW),
}
BROKEN = {
    "/illegal", "/status", "/version", "/length", "/encoding", "/gzip", "/compressed-kind", "/part",
    "/brotli", "/zstandard", "/coded",
}  # fmt: skip
"""Those that are answered with 502; the others come through, masked or cut off."""
STATUS = dict.fromkeys(BROKEN, b"502") | {"/location": b"302", "/error": b"404"}


class Echoing:
    """A server that answers by path, and keeps the heads that it was sent."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.connections = 0
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            writer.write(ANSWERS[head.split(b" ")[1].decode()])
            await writer.drain()
            writer.close()
        except (asyncio.IncompleteReadError, OSError):
            writer.transport.abort()


async def known(name: str) -> Credential | None:
    """Know one credential."""
    return Credential(value=SECRET) if name == "c" else None


async def ask_for_all(kept: Kept, to: int) -> dict[str, bytes]:
    """Ask for every answer as a program in the container does."""
    async with loopback_proxy(kept) as port:
        return {path: await through_tls(port, to, path, kept.gate.ca_certificate) for path in ANSWERS}


async def test_an_echo_is_masked_or_refused_in_every_place_of_an_answer(authority: Authority) -> None:
    """The twin is the same server under a rule without the credential: there all of it comes through."""
    server = Echoing()
    async with serving(server, tls=authority.server("localhost")):  # type: ignore[arg-type]
        keyed = rules(rule("localhost", server.port, credential="c"))
        async with gate_for(keyed, ca_file=authority.file, credentials=known, proxy=True) as kept:
            got = await ask_for_all(kept, server.port)
            told = repr(kept.events)
        read = rules(rule("localhost", server.port, paths=["/**"]))
        async with gate_for(read, ca_file=authority.file, proxy=True) as open_gate:
            free = await ask_for_all(open_gate, server.port)

    for path, answer in got.items():
        assert not [form for form in SPELT if form in answer], (path, answer)
        assert answer.startswith(b"HTTP/1.1 " + STATUS.get(path, b"200")), (path, answer)
    assert not [form for form in SPELT if form.decode() in told]
    assert got["/body"].endswith(b"sent: " + b"*" * len(RAW))
    for path in (
        "/body",
        "/header",
        "/hex",
        "/url",
        "/json",
        "/base64",
        "/chunks",
        "/location",
        "/error",
        "/wide",
    ):
        assert [form for form in SPELT if form in free[path].replace(b"\r\n1\r\n", b"")], (path, free[path])
    assert free["/part"].startswith(b"HTTP/1.1 206")
    sent = server.heads[: len(ANSWERS)]
    assert all(b"authorization: Bearer " + RAW in head for head in sent)
    assert all(b"accept-encoding: identity" in head for head in sent)


async def test_a_secret_is_not_read_out_in_parts_and_only_its_own_rule_sends_it(authority: Authority) -> None:
    """`Range` is dropped where a credential is put in; a rule beside it keeps it, and sends no credential."""
    server = Echoing()
    async with serving(server, tls=authority.server("localhost")):  # type: ignore[arg-type]
        both = rules(
            rule("localhost", server.port, credential="c", paths=["/body"]),
            rule("localhost", server.port, paths=["/error"]),
        )
        parts = (("Range", "bytes=0-3"), ("If-Range", "x"), ("Accept-Encoding", "gzip"))
        async with gate_for(both, ca_file=authority.file, credentials=known) as kept:
            keyed = await kept.gate.request("GET", f"https://localhost:{server.port}/body", headers=parts)
            twin = await kept.gate.request("GET", f"https://localhost:{server.port}/error", headers=parts)

    assert (keyed.status, keyed.body) == (200, b"sent: " + b"*" * len(RAW))
    assert b"range" not in server.heads[0].lower()
    assert b"gzip" not in server.heads[0]
    assert (twin.status, RAW in twin.body) == (404, True)
    assert b"range: bytes=0-3\r\nif-range: x\r\naccept-encoding: gzip" in server.heads[1]
    assert RAW not in server.heads[1]


def test_a_stream_is_held_up_only_where_an_echo_may_have_begun() -> None:
    mask = Mask(Credential(value=SECRET).echoes())

    assert mask.feed(b"data: one\n\n") == b"data: one\n\n"
    assert mask.feed(b"data: " + RAW[:5]) == b"data: "
    assert mask.feed(b"!\n\n") == RAW[:5] + b"!\n\n"
    assert mask.feed(RAW[:5]) + mask.feed(RAW[5:] + b"\n") == b"*" * len(RAW) + b"\n"
    assert mask.end() == b""
