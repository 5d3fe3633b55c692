"""What servers answer, and who they are: bodies without end, what is no HTTP, redirects, certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.egress.errors import UpstreamError
from tests.sandbox.egress.ground import Server, gate_for, rule, rules, serving

if TYPE_CHECKING:
    from tests.sandbox.egress.ground import Authority


async def test_b84_a_body_without_end_is_cut_and_said() -> None:
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000
    async with serving(Server(endless)) as server, gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        response = await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/", body_bytes=1000)
        whole = await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/", body_bytes=300_000)

    assert (len(response.body), response.truncated) == (1000, True)
    assert (len(whole.body), whole.truncated) == (300_000, False)


NO_HTTP = (
    b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 60_000 + b"\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
    b"",
)


async def test_an_answer_that_is_not_http_is_a_failure() -> None:
    async with serving(Server()) as server, gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        for answer in NO_HTTP:
            server.answer = answer
            with pytest.raises(UpstreamError) as failed:
                await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/")
            assert failed.value.code == "upstream", answer[:40]
            assert kept.closed[-1].why == "upstream", answer[:40]


async def test_a_server_is_verified_by_name_and_by_authority(authority: Authority) -> None:
    server = Server()
    async with serving(server, tls=authority.server("localhost")):
        named, numbered = rule("localhost", server.port), rule("127.0.0.1", server.port)
        async with gate_for(rules(named, numbered), ca_file=authority.file) as kept:
            response = await kept.gate.request("GET", f"https://localhost:{server.port}/")
            with pytest.raises(UpstreamError) as wrong_name:
                await kept.gate.request("GET", f"https://127.0.0.1:{server.port}/")
        async with gate_for(rules(named)) as unknowing:
            with pytest.raises(UpstreamError) as unknown_authority:
                await unknowing.gate.request("GET", f"https://localhost:{server.port}/")

    assert response.status == 200
    assert (wrong_name.value.code, unknown_authority.value.code) == ("tls", "tls")
    assert len(server.heads) == 1


async def test_a_redirect_is_told_and_not_followed() -> None:
    async with serving(Server()) as elsewhere:
        moved = (
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:%d/\r\ncontent-length: 0\r\n\r\n"
            % elsewhere.port
        )
        async with serving(Server(moved)) as server, gate_for(rules(rule("127.0.0.1", server.port))) as kept:
            response = await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/")

    assert response.status == 302
    assert response.header("Location") == f"http://127.0.0.1:{elsewhere.port}/"
    assert elsewhere.connections == 0
