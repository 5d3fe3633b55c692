"""Credentials: put in by the gate, for one rule, over TLS; an answer's echo is in test_egress_echoes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sandbox.egress.credentials import Credential
from sandbox.egress.errors import EgressDeniedError, EgressError
from tests.sandbox.egress.ground import Server, gate_for, rule, rules, serving

if TYPE_CHECKING:
    from tests.sandbox.egress.ground import Authority

SECRET = "s3cr3t-value-of-the-test"  # noqa: S105 - no secret


async def with_secret(name: str) -> Credential | None:
    return Credential(value=SECRET) if name == "github" else None


async def test_a_credential_replaces_the_agents_and_its_echo_is_masked(authority: Authority) -> None:
    echo = SECRET.encode()
    server = Server(
        b"HTTP/1.1 200 OK\r\nx-echo: "
        + echo
        + b"\r\ncontent-length: %d\r\n\r\nyou sent " % (9 + len(echo))
        + echo
    )
    async with serving(server, tls=authority.server("localhost")):
        keyed = rule("localhost", server.port, credential="github")
        async with gate_for(rules(keyed), ca_file=authority.file, credentials=with_secret) as kept:
            response = await kept.gate.request(
                "GET", f"https://localhost:{server.port}/", headers=(("Authorization", "Bearer mine"),)
            )

    assert f"authorization: Bearer {SECRET}".encode() in server.heads[0]
    assert b"mine" not in server.heads[0]
    assert response.body == b"you sent " + b"*" * len(echo)
    assert response.header("x-echo") == "*" * len(echo)
    assert SECRET not in repr(kept.events)


async def test_a_credential_is_not_put_into_a_request_for_another_rule(authority: Authority) -> None:
    server = Server()
    async with serving(server, tls=authority.server("localhost", "127.0.0.1")):
        keyed = rule("localhost", server.port, credential="github")
        plain = rule("127.0.0.1", server.port)
        async with gate_for(rules(keyed, plain), ca_file=authority.file, credentials=with_secret) as kept:
            await kept.gate.request("GET", f"https://127.0.0.1:{server.port}/")

    assert SECRET.encode() not in server.heads[0]


async def test_a_credential_that_is_not_configured_denies(authority: Authority) -> None:
    server = Server()
    async with serving(server, tls=authority.server("localhost")):
        keyed = rule("localhost", server.port, credential="unknown")
        async with gate_for(rules(keyed), ca_file=authority.file, credentials=with_secret) as kept:
            with pytest.raises(EgressDeniedError) as denied:
                await kept.gate.request("GET", f"https://localhost:{server.port}/")

    assert denied.value.code == "credential"
    assert server.connections == 0


async def test_a_credential_that_is_no_header_is_a_denial_which_does_not_show_it(
    authority: Authority,
) -> None:
    async def unsendable(name: str) -> Credential | None:
        return Credential(value=f"{SECRET}\u20ac{name}")

    server = Server()
    async with serving(server, tls=authority.server("localhost")):
        keyed = rule("localhost", server.port, credential="github")
        async with gate_for(rules(keyed), ca_file=authority.file, credentials=unsendable) as kept:
            with pytest.raises(EgressError) as failed:
                await asyncio.wait_for(kept.gate.request("GET", f"https://localhost:{server.port}/"), 60)

    assert SECRET not in str(failed.value)
    assert server.heads == []
