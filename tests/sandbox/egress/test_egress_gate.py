"""The gate with its real process, against servers on loopback."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.egress import gate
from sandbox.egress.credentials import Credential
from sandbox.egress.errors import EgressDeniedError, EgressError, GateLostError, UpstreamError
from tests.sandbox.egress.ground import OK, Server, gate_for, rule, rules, serving

if TYPE_CHECKING:
    from sandbox.egress.events import Event
    from tests.sandbox.egress.ground import Authority, Kept

SECRET = "s3cr3t-value-of-the-test"  # noqa: S105 - no secret


def process_of(kept: Kept) -> int:
    return kept.gate.pid


async def test_an_allowed_request_is_answered_and_accounted_for() -> None:
    async with serving(Server()) as server, gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        response = await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/a?b=c", action="s/1")

    assert (response.status, response.body, response.address) == (200, b"hello", "127.0.0.1")
    assert server.heads[0].startswith(b"GET /a?b=c HTTP/1.1\r\nhost: 127.0.0.1:")
    assert response.bytes_sent == len(server.heads[0])
    assert response.bytes_received == len(OK)
    assert kept.verdicts == [("allowed", "")]
    assert kept.decided[0].path == "/a"
    assert (kept.closed[0].why, kept.closed[0].status, kept.closed[0].action) == ("done", 200, "s/1")


@pytest.mark.parametrize(
    ("method", "where", "code"),
    [
        ("GET", "http://localhost:{port}/", "host"),
        ("GET", "http://127.0.0.1:1/", "host"),
        ("POST", "http://127.0.0.1:{port}/", "method"),
        ("TRACE", "http://127.0.0.1:{port}/", "method"),
        ("CONNECT", "http://127.0.0.1:{port}/", "method"),
        ("get", "http://127.0.0.1:{port}/", "method"),
        ("GET /x HTTP/1.1\r\nx:", "http://127.0.0.1:{port}/", "method"),
        ("GET", "http://127.0.0.1:{port}/a/../b", "protocol"),
        ("GET", "http://user@127.0.0.1:{port}/", "protocol"),
        ("GET", "ftp://127.0.0.1:{port}/", "protocol"),
        ("GET", "", "protocol"),
    ],
)
async def test_what_the_rules_do_not_allow_never_reaches_the_server(
    method: str, where: str, code: str
) -> None:
    async with serving(Server()) as server, gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        with pytest.raises(EgressDeniedError) as denied:
            await kept.gate.request(method, where.format(port=server.port))

    assert denied.value.code == code
    assert kept.verdicts == [("denied", code)]
    assert server.connections == 0


async def test_a_private_address_is_refused_after_the_name_was_allowed() -> None:
    async with serving(Server()) as server:
        private = rule("localhost", server.port, allow_private=False)
        async with gate_for(rules(private)) as kept:
            with pytest.raises(EgressDeniedError) as denied:
                await kept.gate.request("GET", f"http://localhost:{server.port}/")

    assert denied.value.code == "address"
    assert kept.verdicts == [("allowed", ""), ("denied", "address")]
    assert kept.closed[0].why == "address"
    assert server.connections == 0


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


async def test_nothing_leaves_before_the_event_is_durable() -> None:
    server = Server()
    seen: list[int] = []

    async def slowly(event: Event) -> None:
        if hasattr(event, "verdict"):
            await asyncio.sleep(0.2)
            seen.append(server.connections)

    async with serving(server), gate_for(rules(rule("127.0.0.1", server.port)), journal=slowly) as kept:
        await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/")

    assert seen == [0]
    assert server.connections == 1


async def test_b109_a_ledger_that_fails_kills_the_gate_and_nothing_leaves() -> None:
    server = Server()

    async def full(event: Event) -> None:
        raise OSError(28, f"no space left for {type(event).__name__}")

    async with serving(server), gate_for(rules(rule("127.0.0.1", server.port)), journal=full) as kept:
        for _ in range(2):
            with pytest.raises(GateLostError) as lost:
                await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/")
            assert isinstance(lost.value.__cause__, OSError)

    assert server.connections == 0


async def test_a_killed_process_is_told_and_leaves_nothing_waiting() -> None:
    server = Server()
    async with serving(server), gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        os.kill(process_of(kept), 9)
        with pytest.raises(GateLostError):
            await asyncio.wait_for(kept.gate.request("GET", f"http://127.0.0.1:{server.port}/"), 30)


async def test_the_process_ends_with_the_block() -> None:
    async with gate_for(rules()) as kept:
        number = process_of(kept)
        os.kill(number, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


async def test_b84_a_body_without_end_is_cut_and_said() -> None:
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000
    async with serving(Server(endless)) as server, gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        response = await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/", body_bytes=1000)
        whole = await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/", body_bytes=300_000)

    assert (len(response.body), response.truncated) == (1000, True)
    assert (len(whole.body), whole.truncated) == (300_000, False)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 60_000 + b"\r\n", "upstream"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "upstream"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "upstream"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", "upstream"),
        (b"", "upstream"),
    ],
)
async def test_an_answer_that_is_not_http_is_a_failure(answer: bytes, code: str) -> None:
    async with serving(Server(answer)) as server, gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        with pytest.raises(UpstreamError) as failed:
            await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/")

    assert failed.value.code == code
    assert kept.closed[0].why == code


async def test_the_budget_of_requests_ends_and_says_so() -> None:
    async with (
        serving(Server()) as server,
        gate_for(rules(rule("127.0.0.1", server.port), requests=2)) as kept,
    ):
        url = f"http://127.0.0.1:{server.port}/"
        await kept.gate.request("GET", url)
        await kept.gate.request("GET", url)
        with pytest.raises(EgressDeniedError) as denied:
            await kept.gate.request("GET", url)

    assert denied.value.code == "budget"
    assert server.connections == 2


async def test_the_budget_of_bytes_sent_counts_the_query_and_stops_before_a_byte_leaves() -> None:
    async with (
        serving(Server()) as server,
        gate_for(rules(rule("127.0.0.1", server.port), sent_bytes=200)) as kept,
    ):
        url = f"http://127.0.0.1:{server.port}/"
        await kept.gate.request("GET", url)
        with pytest.raises(EgressDeniedError) as denied:
            await kept.gate.request("GET", f"{url}?{'x' * 300}")

    assert denied.value.code == "budget"
    assert len(server.heads) == 1


async def test_the_budget_of_bytes_received_ends_the_answer() -> None:
    body = b"HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\n" + b"x" * 90_000
    async with (
        serving(Server(body)) as server,
        gate_for(rules(rule("127.0.0.1", server.port), received_bytes=50_000)) as kept,
    ):
        with pytest.raises(EgressDeniedError) as denied:
            await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/")

    assert denied.value.code == "budget"


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


@pytest.mark.parametrize(
    "header",
    [
        ("x", "a\r\nhost: evil"),
        ("x\r\ny", "a"),
        ("x y", "a"),
        ("", "a"),
        ("x:", "a"),
        ("x", "a\0b"),
        ("x", "caf\xe9"),
    ],
)
async def test_a_header_cannot_carry_a_second_one(header: tuple[str, str]) -> None:
    async with serving(Server()) as server, gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        with pytest.raises(EgressDeniedError) as denied:
            await asyncio.wait_for(
                kept.gate.request("GET", f"http://127.0.0.1:{server.port}/", headers=(header,)), 60
            )

    assert denied.value.code == "protocol"
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


async def test_a_process_that_answers_nothing_is_not_waited_for_longer_than_its_connections_may_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate, "MARGIN_SECONDS", 0.5)
    async with gate_for(rules(rule("127.0.0.1", 1), connection_seconds=0.5)) as kept:
        os.kill(process_of(kept), signal.SIGSTOP)
        with pytest.raises(UpstreamError) as failed:
            await asyncio.wait_for(kept.gate.request("GET", "http://127.0.0.1:1/"), 60)
        os.kill(process_of(kept), signal.SIGCONT)

    assert failed.value.code == "timeout"


async def test_headers_of_the_connection_are_the_gates_own() -> None:
    given = (("Host", "evil"), ("Connection", "x-mine"), ("X-Mine", "1"), ("TE", "trailers"), ("X-Kept", "1"))
    async with serving(Server()) as server, gate_for(rules(rule("127.0.0.1", server.port))) as kept:
        await kept.gate.request("GET", f"http://127.0.0.1:{server.port}/", headers=given)

    assert server.heads[0].split(b"\r\n")[1:] == [
        f"host: 127.0.0.1:{server.port}".encode(),
        b"x-kept: 1",
        b"connection: close",
        b"",
        b"",
    ]


async def test_a_cancelled_request_is_closed_and_the_gate_lives() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with (
        listening,
        serving(Server()) as server,
        gate_for(rules(rule("127.0.0.1", port), rule("localhost", server.port))) as kept,
    ):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(kept.gate.request("GET", f"http://127.0.0.1:{port}/"), 1)
        response = await kept.gate.request("GET", f"http://localhost:{server.port}/")

    assert response.status == 200
    assert kept.closed[0].why == "cancelled"


async def test_a_process_dies_with_a_runner_that_is_killed_while_it_starts(tmp_path: Path) -> None:
    """Its own modules take seconds to load on a busy machine; here they never do."""
    for package in ("sandbox", "sandbox/egress"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "sandbox/egress/child.py").write_text("import time; time.sleep(300)")
    start = (
        "import asyncio, os, sys; from sandbox.egress import process\n"
        "process.sandbox.__file__ = sys.argv[1]\n"
        "async def main():\n"
        "    print((await process.EgressProcess.start()).pid, flush=True)\n"
        "    sys.stdin.read()\n"
        "asyncio.run(main())"
    )
    runner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", start, str(tmp_path / "sandbox/__init__.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert runner.stdout is not None
    started = int(await runner.stdout.readline())
    try:
        alive = _lives(started)
        runner.kill()
        await runner.communicate()
        for _ in range(600):
            if not _lives(started):
                break
            await asyncio.sleep(0.1)
        left = _lives(started)
    finally:
        if _lives(started):
            os.kill(started, signal.SIGKILL)

    assert (alive, left) == (True, False)


def _lives(process: int) -> bool:
    try:
        facts = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return facts.rpartition(")")[2].split()[0] not in ("Z", "X")
