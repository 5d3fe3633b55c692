"""Attacks with answers, B74: however a server frames one, a container is handed one answer, framed anew."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tests.attacks.through_proxy import say
from tests.sandbox.egress.ground import OK, Server, gate_for, loopback_proxy, rule, rules, serving

INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
FRAMED = OK.partition(b"content-length")[0]
"""The head of an answer, but for its framing."""
CHUNKED = FRAMED + b"transfer-encoding: chunked\r\n"
ANSWERS: tuple[tuple[bytes, bytes], ...] = (
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + OK, b"200"),
    (INTERIM * 100 + OK, b"200"),
    (INTERIM * 101 + OK, b"502"),
    (INTERIM * 20_000, b"502"),
    (OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", b"200"),
    (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\nevil", b"502"),
    (FRAMED + b"content-length: 5\r\ncontent-length: 9\r\n\r\nhelloevil", b"502"),
    (FRAMED + b"content-length: 5\r\nx: a\0b\r\n\r\nhello", b"502"),
    (FRAMED + b"set-cookie: a\r\r\nevil: 1\r\ncontent-length: 5\r\n\r\nhello", b"502"),
    (FRAMED + b"transfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"502"),
    (FRAMED + b"x: y\r\n" * 130 + b"content-length: 5\r\n\r\nhello", b"502"),
    (FRAMED + b"x: " + b"y" * 70_000 + b"\r\ncontent-length: 5\r\n\r\nhello", b"502"),
    (CHUNKED + b"content-length: 40\r\n\r\n5\r\nhello\r\n0\r\n\r\nevil", b"200"),
    (CHUNKED + b"\r\n5;evil=1\r\nhello\r\n0\r\nx-evil: 1\r\n\r\n", b"200"),
    (FRAMED + b"x: a\r\n b\r\n\tc\r\ncontent-length: 5\r\n\r\nhello", b"200"),
    (FRAMED + b"upgrade: evil\r\nconnection: upgrade\r\ncontent-length: 5\r\n\r\nhello", b"200"),
    (FRAMED + b"x-pairlock-code: evil\r\ncontent-length: 5\r\n\r\nhello", b"200"),
)  # fmt: skip


@dataclass
class Several(Server):
    """A server with an answer for each path, a number."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        try:
            asked = await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWERS[int(asked.split(b" ")[1][1:])][0])
            await writer.drain()
            writer.close()
        except (asyncio.IncompleteReadError, OSError):
            writer.transport.abort()


async def test_b74_an_answer_is_one_answer_however_a_server_frames_it() -> None:
    """Each comes through framed anew, on lines that are not folded, or not at all."""
    async with (
        serving(Several()) as server,
        gate_for(rules(rule("127.0.0.1", server.port)), proxy=True) as kept,
        loopback_proxy(kept) as port,
    ):
        at = f"127.0.0.1:{server.port}"
        head = f" HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"
        for number, (answer, seen) in enumerate(ANSWERS):
            got = await say(port, f"GET http://{at}/{number}{head}".encode())
            assert got.split(b" ")[1] == seen, answer[:200]
            assert got.count(b"HTTP/1.1 ") == 1, answer[:200]
            assert b"evil" not in got, answer[:200]
            assert b"hello" in got or seen != b"200", answer[:200]
            assert b"\r\n " not in got, answer[:200]
