"""The gate speaks HTTP/2 to a server that agrees to it, and HTTP/1.1 to one that does not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h2.events
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection

from sandbox.egress.credentials import Credential
from sandbox.egress.errors import UpstreamError
from tests.sandbox.egress.ground import Authority, Server, gate_for, rule, rules, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LARGE_BYTES = 3_000_000
SECRET = "s3cret-for-two"  # noqa: S105 - made up


CONFIGURATION = H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False)


@dataclass
class Http2Server:
    """A server of HTTP/2 that answers with what it was sent, or breaks off."""

    breaks: str = ""
    """`reset`, `garbage`, `close`, or `frames` without end before the request is; empty for an answer."""
    status: str = "200"
    further: list[tuple[str, str]] = field(default_factory=list)
    """Headers of its answers besides."""
    interim: int = 0
    """Interim answers before each."""
    seen: list[dict[str, str]] = field(default_factory=list)
    bodies: dict[int, int] = field(default_factory=dict)
    connections: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        http = H2Connection(CONFIGURATION)
        http.initiate_connection()
        try:
            writer.write(http.data_to_send())
            while data := await reader.read(65536):
                for event in http.receive_data(data):
                    await self._take(http, event, reader, writer)
                writer.write(http.data_to_send())
                await writer.drain()
        except (OSError, h2.exceptions.H2Error):
            pass
        finally:
            writer.transport.abort()

    async def _take(
        self,
        http: H2Connection,
        event: h2.events.Event,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.seen.append(dict(event.headers))
            if self.breaks == "frames":
                http.send_headers(event.stream_id, [(":status", "200")])
                writer.write(http.data_to_send() + b"\0\0\1\0\0\0\0\0\1x" * 20_000)
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, 0) + len(event.data)
            http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            await self._answer(http, event.stream_id, reader, writer)

    async def _answer(
        self, http: H2Connection, stream: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.breaks == "reset":
            http.reset_stream(stream, error_code=7)
            return
        if self.breaks:
            writer.write(b"\0\0\5\x63garbage" if self.breaks == "garbage" else b"")
            writer.close()
            return
        asked = self.seen[-1]
        body = (
            b"x" * LARGE_BYTES
            if asked[":path"] == "/large"
            else f"{asked.get('authorization', '')} {self.bodies.get(stream, 0)}".encode()
        )
        for _ in range(self.interim):
            http.send_headers(stream, [(":status", "103")])
        own = [(":status", self.status), ("content-length", str(len(body))), ("x-sent", "yes")]
        http.send_headers(stream, [*own, *self.further])
        while body:
            room = min(http.local_flow_control_window(stream), http.max_outbound_frame_size)
            http.send_data(stream, body[:room]) if room > 0 else None
            body = body[max(room, 0) :]
            writer.write(http.data_to_send())
            await writer.drain()
            if room <= 0:
                if not (data := await reader.read(65536)):
                    raise OSError
                http.receive_data(data)
        http.end_stream(stream)


@asynccontextmanager
async def two(server: Http2Server, authority: Authority) -> AsyncIterator[int]:
    """Serve HTTP/2 on a loopback port."""
    tls = authority.server("localhost")
    tls.set_alpn_protocols(["h2"])
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def known(name: str) -> Credential | None:
    """Know one credential."""
    return Credential(value=SECRET)


async def test_a_request_and_its_answer_over_http2(authority: Authority) -> None:
    """The agent's own header is replaced, the echo masked, bytes and status told of."""
    server = Http2Server()
    async with two(server, authority) as port:
        keyed = rule("localhost", port, credential="c")
        async with gate_for(rules(keyed), ca_file=authority.file, credentials=known) as kept:
            response = await kept.gate.request(
                "GET", f"https://localhost:{port}/a?b=1", headers=(("Authorization", "mine"), ("X-Own", "1"))
            )

    asked = server.seen[0]
    assert (asked[":method"], asked[":path"], asked[":authority"]) == ("GET", "/a?b=1", f"localhost:{port}")
    assert (asked["authorization"], asked["x-own"]) == (f"Bearer {SECRET}", "1")
    assert (response.status, response.header("x-sent")) == (200, "yes")
    assert response.body == f"Bearer {'*' * len(SECRET)} 0".encode()
    assert (kept.closed[0].status, kept.closed[0].why) == (200, "done")


async def test_bodies_larger_than_any_window_cross_both_ways(authority: Authority) -> None:
    server = Http2Server()
    async with two(server, authority) as port:
        allowed = rules(rule("localhost", port, methods=("GET", "POST")))
        async with gate_for(allowed, ca_file=authority.file) as kept:
            posted = await kept.gate.request("POST", f"https://localhost:{port}/", body=b"y" * 400_000)
            large = await kept.gate.request("GET", f"https://localhost:{port}/large")

    assert posted.body == b" 400000"
    assert large.body == b"x" * LARGE_BYTES


async def test_the_budget_of_bytes_received_ends_an_answer_over_http2(authority: Authority) -> None:
    server = Http2Server()
    async with two(server, authority) as port:
        allowed = rules(rule("localhost", port), received_bytes=100_000)
        async with gate_for(allowed, ca_file=authority.file) as kept:
            with pytest.raises(Exception, match="bytes received"):
                await kept.gate.request("GET", f"https://localhost:{port}/large")

    assert kept.closed[0].why == "budget"


async def test_an_http2_server_that_breaks_off_is_a_failure(authority: Authority) -> None:
    server = Http2Server()
    async with (
        two(server, authority) as port,
        gate_for(rules(rule("localhost", port)), ca_file=authority.file) as kept,
    ):
        for server.breaks in ("reset", "garbage", "close"):
            with pytest.raises(UpstreamError) as failed:
                await asyncio.wait_for(kept.gate.request("GET", f"https://localhost:{port}/"), 60)
            assert failed.value.code == "upstream", server.breaks


async def test_a_status_that_is_none_is_a_failure_over_http2(authority: Authority) -> None:
    server = Http2Server()
    async with (
        two(server, authority) as port,
        gate_for(rules(rule("localhost", port)), ca_file=authority.file) as kept,
    ):
        for server.status in ("abc", "", "99999", "099", "2 0", "\u0662\u0660\u0660"):
            with pytest.raises(UpstreamError) as failed:
                await asyncio.wait_for(kept.gate.request("GET", f"https://localhost:{port}/"), 60)
            assert failed.value.code == "upstream", server.status
            assert failed.value.message.startswith("the answer of `localhost` "), server.status
            assert kept.closed[-1].why == "upstream", server.status


async def test_an_answers_headers_over_http2_are_bounded_and_hold_no_second_one(authority: Authority) -> None:
    """Line ends in a value, names that are none, too many of them, interim answers without end."""
    server = Http2Server()
    async with (
        two(server, authority) as port,
        gate_for(rules(rule("localhost", port)), ca_file=authority.file) as kept,
    ):
        for server.further in (
            [("x", "a\r\nset-cookie: evil=1")],
            [("x", "a\nb")],
            [("x", "a\0b")],
            [("x\r\nevil", "1")],
            [("x", "y")] * 130,
        ):
            with pytest.raises(UpstreamError) as failed:
                await asyncio.wait_for(kept.gate.request("GET", f"https://localhost:{port}/"), 60)
            assert failed.value.code == "upstream", server.further[:2]
        server.further = [("x-pairlock-code", "evil"), ("x", "y")]
        for server.interim in (101, 100):
            outcome = asyncio.wait_for(kept.gate.request("GET", f"https://localhost:{port}/"), 60)
            if server.interim == 101:
                with pytest.raises(UpstreamError, match="interim"):
                    await outcome
        response = await outcome

    assert (response.status, response.header("x"), response.header("x-pairlock-code")) == (200, "y", "")


async def test_frames_that_come_while_a_body_waits_to_be_sent_are_bounded(authority: Authority) -> None:
    async with (
        two(Http2Server(breaks="frames"), authority) as port,
        gate_for(rules(rule("localhost", port, methods=("POST",))), ca_file=authority.file) as kept,
    ):
        with pytest.raises(UpstreamError, match="came in too many frames"):
            await asyncio.wait_for(
                kept.gate.request("POST", f"https://localhost:{port}/", body=b"y" * 2_000_000), 60
            )


async def test_a_server_that_agrees_to_nothing_is_spoken_to_in_http1(authority: Authority) -> None:
    server = Server()
    async with (
        serving(server, tls=authority.server("localhost")),
        gate_for(rules(rule("localhost", server.port)), ca_file=authority.file) as kept,
    ):
        response = await kept.gate.request("GET", f"https://localhost:{server.port}/")

    assert response.body == b"hello"
    assert server.heads[0].startswith(b"GET / HTTP/1.1\r\n")
