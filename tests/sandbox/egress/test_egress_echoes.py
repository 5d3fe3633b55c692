"""A server that sends the credential back in every place of an answer: the container gets none of it."""

from __future__ import annotations

import asyncio
import base64
import gzip
from typing import TYPE_CHECKING

from sandbox.egress.credentials import Credential
from tests.attacks.through_proxy import through_tls
from tests.sandbox.egress.ground import gate_for, loopback_proxy, rule, rules, serving

if TYPE_CHECKING:
    from tests.sandbox.egress.ground import Authority, Kept

SECRET = "tok-Ab3/x+Zz9"  # noqa: S105 - made up
RAW = SECRET.encode()
SPELT = {
    RAW, RAW.lower(), RAW.hex().encode(), b"tok-Ab3%2Fx%2BZz9", rb"tok-Ab3\/x+Zz9",
    *(base64.b64encode(bytes(shift) + RAW)[(0, 2, 3)[shift] : -4] for shift in range(3)),
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
    "/chunk-size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%b\r\n" % RAW,
    "/encoding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: %b\r\n\r\n" % RAW,
    "/gzip": plain(gzip.compress(RAW), b"content-encoding: gzip"),
    "/compressed-kind": plain(b"x", b"content-encoding: " + RAW),
}
BROKEN = {"/illegal", "/status", "/version", "/length", "/encoding", "/gzip", "/compressed-kind"}
"""Those that are answered with 502; the others come through, masked or cut off."""


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
        assert answer.startswith(b"HTTP/1.1 502" if path in BROKEN else b"HTTP/1.1 200"), (path, answer)
    assert not [form for form in SPELT if form.decode() in told]
    assert got["/body"].endswith(b"sent: " + b"*" * len(RAW))
    for path in ("/body", "/header", "/hex", "/url", "/json", "/base64", "/chunks"):
        assert [form for form in SPELT if form in free[path].replace(b"\r\n1\r\n", b"")], (path, free[path])
    sent = server.heads[: len(ANSWERS)]
    assert all(b"authorization: Bearer " + RAW in head for head in sent)
    assert all(b"accept-encoding: identity" in head for head in sent)
