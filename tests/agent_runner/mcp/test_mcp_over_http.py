"""Commands as MCP tools over streamable HTTP: the SDK's own client, real sessions, a real guest."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from agent_runner.errors import InvalidInputError
from agent_runner.mcp import door
from agent_runner.mcp.caller import Caller
from agent_runner.mcp.connections import MOST_CONNECTIONS
from agent_runner.mcp.peers import LARGEST_MESSAGE_BYTES
from agent_runner.mcp.serving import Callers, offered, server_for
from cli_tools.catalogue import built_in
from policies.source import parse_policy
from tests.agent_runner.stand import POLICY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_runner.request import SessionResult
    from tests.agent_runner.stand import Stand

TOKEN = "a-token-of-the-tests-0123"  # noqa: S105 - no real one

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"},
    },
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@dataclass
class Served:
    """A server, and the sessions that ended."""

    url: str
    callers: Callers
    ended: list[SessionResult] = field(default_factory=list)


@contextlib.asynccontextmanager
async def serving(stand: Stand, policy: str = POLICY) -> AsyncIterator[Served]:
    """Serve on a free port of loopback."""
    ended: list[SessionResult] = []

    def made() -> Caller:
        return Caller(
            lambda backend, watcher: stand.request(
                backend, policy, watcher=watcher, session="", may_repeat=True
            ),
            model="test",
        )

    callers = Callers(made, ended.append)
    server = server_for(offered(parse_policy(policy, origin="x"), built_in()), callers)
    at = door.listening(0)
    url = f"http://127.0.0.1:{at.getsockname()[1]}{door.PATH}"
    task = asyncio.create_task(door.serve_http(server, callers, at, TOKEN))
    try:
        yield Served(url, callers, ended)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def client(served: Served, token: str = TOKEN, mode: Any = "auto") -> AsyncIterator[Client]:
    """Connect as the SDK does."""
    headers = {"authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False, timeout=120) as http,
        Client(streamable_http_client(served.url, http_client=http), mode=mode) as connected,
    ):
        yield connected


def entries(stand: Stand, session: str, kind: str) -> list[dict[str, Any]]:
    path = stand.state / "sessions" / session / "events.jsonl"
    return [
        entry["body"] for entry in map(json.loads, path.read_text().splitlines()) if entry["type"] == kind
    ]


def text(result: Any) -> str:
    return str(result.content[0].text)


async def test_a_client_calls_tools_through_gate_and_ledger(stand: Stand) -> None:
    (stand.folder / "a.txt").write_text("one\n")
    async with serving(stand) as served:
        async with client(served) as connected:
            listed = {tool.name: tool for tool in (await connected.list_tools()).tools}
            read = [await connected.call_tool("files_read", {"path": "a.txt"}) for _ in range(5)]
            written = await connected.call_tool("files_write", {"path": "b.txt", "content": "two\n"})
            denied = await connected.call_tool("http_get", {"url": "https://example.com/"})
            wrong = await connected.call_tool("files_read", {"paths": "a.txt"})
            unknown = await connected.call_tool("rm", {})
            finish = await connected.call_tool("finish", {"status": "done"})
        for _ in range(1200):
            if served.ended:
                break
            await asyncio.sleep(0.05)
        (ended,) = served.ended

    assert set(listed) == {
        f"files_{w}" for w in ("list", "move", "patch", "read", "remove", "search", "stat", "write")
    }
    assert listed["files_read"].meta == {"pairlock/capabilities": ["files"], "pairlock/sinks": {}}
    assert listed["files_read"].input_schema["additionalProperties"] is False
    assert {text(each) for each in read} == {text(read[0])}
    assert "one" in text(read[0])
    assert (stand.folder / "b.txt").read_text() == "two\n"
    assert not written.is_error
    assert denied.is_error
    assert text(denied).startswith(
        "denied (capability): session holds `files`; action `http get` needs `network`"
    )
    assert text(wrong).startswith("error (usage): `files read` has no argument `paths`")
    assert text(unknown).startswith("error (unknown-command): `rm` is not a command")
    assert text(finish) == "`finish` is not a tool here: the session ends when the client goes"
    assert ended.status == "done"
    intended = entries(stand, ended.session, "action.intended")
    assert [(action["command"], action["verdict"]) for action in intended] == [
        *[("files read", "allowed")] * 5,
        ("files write", "allowed"),
        ("http get", "denied"),
        ("", "denied"),
        ("", "denied"),
        ("finish", "allowed"),
    ]


async def test_arguments_are_taken_up_to_their_bound_and_every_refusal_is_in_the_ledger(stand: Stand) -> None:
    async with serving(stand) as served:
        async with client(served) as connected:
            long = await connected.call_tool("files_write", {"path": "b.txt", "content": "x" * 4_100_000})
            too_long = await connected.call_tool("files_write", {"path": "b.txt", "content": "x" * 4_200_000})
        await served.callers.close()
        (ended,) = served.ended

    assert not long.is_error, text(long)
    assert (stand.folder / "b.txt").stat().st_size == 4_100_000
    assert "characters of arguments, at most 4194304 are read" in text(too_long)
    assert [action["verdict"] for action in entries(stand, ended.session, "action.intended")] == [
        "allowed",
        "denied",
        "allowed",
    ]


async def test_a_number_that_is_none_is_refused_by_the_gate_and_in_the_ledger(stand: Stand) -> None:
    call = (
        b'{"jsonrpc": "2.0", "id": 2, "method": "tools/call",'
        b' "params": {"name": "files_read", "arguments": {"path": NaN}}}'
    )
    async with serving(stand) as served, httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        headers = await _greeted(http, served)
        answer = await http.post(served.url, content=call, headers=headers)
        await served.callers.close()
        (ended,) = served.ended

    assert "`NaN` is not JSON" in answer.text
    assert [action["verdict"] for action in entries(stand, ended.session, "action.intended")] == [
        "denied",
        "allowed",
    ]


async def test_each_client_has_a_session_of_its_own(stand: Stand) -> None:
    async with serving(stand) as served:
        async with client(served) as one, client(served, mode="legacy") as two:
            seen = await asyncio.gather(*(each.call_tool("files_list", {}) for each in (one, two)))
            seen.append(await one.call_tool("files_list", {}))
        for _ in range(1200):
            if len(served.ended) == 2:
                break
            await asyncio.sleep(0.05)

    assert [(text(result), result.is_error) for result in seen] == [(text(seen[0]), False)] * 3
    sessions = {result.session for result in served.ended}
    assert len(sessions) == 2
    assert sorted(len(entries(stand, session, "action.intended")) for session in sessions) == [2, 3]


async def test_calls_at_once_are_carried_out_one_by_one(stand: Stand) -> None:
    async with serving(stand) as served, client(served) as connected:
        writes = [
            connected.call_tool("files_write", {"path": f"{n}.txt", "content": str(n)}) for n in range(12)
        ]
        results = await asyncio.gather(*writes)

    assert [result.is_error for result in results] == [False] * 12
    assert [(stand.folder / f"{n}.txt").read_text() for n in range(12)] == [str(n) for n in range(12)]


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({}, door.PATH, 401),
        ({"authorization": "Bearer wrong"}, door.PATH, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, door.PATH, 401),
        ({"authorization": TOKEN}, door.PATH, 401),
        ({"authorization": f"Bearer {TOKEN}", "host": "evil.example"}, door.PATH, 421),
        ({"authorization": f"Bearer {TOKEN}", "origin": "https://evil.example"}, door.PATH, 403),
        ({"authorization": f"Bearer {TOKEN}"}, "/", 404),
        ({"authorization": f"Bearer {TOKEN}", "mcp-session-id": "0" * 32}, door.PATH, 404),
        ({"authorization": f"Bearer {TOKEN}"}, door.PATH, 200),
    ],
)
async def test_only_who_brings_the_token_to_this_host_is_served(
    stand: Stand, headers: dict[str, str], path: str, status: int
) -> None:
    """A page in the user's browser, or another user of the machine, reaches nothing (B79)."""
    asked = {"content-type": "application/json", "accept": "application/json, text/event-stream", **headers}
    async with serving(stand) as served, httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        answer = await http.post(served.url.replace(door.PATH, path), json=HELLO, headers=asked)

    assert answer.status_code == status
    assert not (stand.state / "sessions").exists() or not any((stand.state / "sessions").iterdir())


@pytest.mark.parametrize("asks", [False, True])
async def test_connections_without_a_token_make_room_and_do_not_use_up_descriptors(
    stand: Stand, *, asks: bool
) -> None:
    """Another user of the machine needs no token to connect, nor to ask, and to be slow with what follows."""
    without = 3 * MOST_CONNECTIONS
    asked = f"Host: {door.HOST}\r\nContent-Length: 100000\r\n\r\n" if asks else ""
    async with serving(stand) as served, contextlib.AsyncExitStack() as open_ones:
        port = int(served.url.rpartition(":")[2].removesuffix(door.PATH))
        readers = []
        for _ in range(without):
            reader, writer = await asyncio.open_connection(door.HOST, port)
            open_ones.callback(writer.close)
            writer.write(f"POST /mcp HTTP/1.1\r\n{asked}".encode())
            if asks:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await reader.readuntil(b"}")
                    writer.write(b"x")  # the connection is not idle
            readers.append(reader)
        async with client(served) as connected:
            listed = await connected.call_tool("files_list", {})
        ended = [asyncio.create_task(_ended(reader)) for reader in readers]
        for early in itertools.islice(asyncio.as_completed(ended, timeout=60), without - MOST_CONNECTIONS):
            await early
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)

    assert not listed.is_error


async def _ended(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read()


@pytest.mark.parametrize(
    ("refused", "body", "status"),
    [
        ({"origin": "https://evil.example"}, b"", 403),
        ({"host": "evil.example"}, b"", 421),
        ({}, b"x" * (LARGEST_MESSAGE_BYTES + 1), 413),
    ],
)
async def test_a_goodbye_that_is_refused_ends_no_session(
    stand: Stand, refused: dict[str, str], body: bytes, status: int
) -> None:
    """The client that goes on would be in another sandbox, and not be told."""
    async with serving(stand) as served, httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        headers = await _greeted(http, served)
        first = await http.post(served.url, json=_call(1), headers=headers)
        answer = await http.request("DELETE", served.url, headers={**headers, **refused}, content=body)
        second = await http.post(served.url, json=_call(2), headers=headers)
        ended_early = list(served.ended)
        goodbye = await http.delete(served.url, headers=headers)
        await served.callers.close()
        (ended,) = served.ended

    assert (first.status_code, second.status_code) == (200, 200)
    assert (answer.status_code, goodbye.status_code) == (status, 200)
    assert ended_early == []
    assert [action["command"] for action in entries(stand, ended.session, "action.intended")] == [
        "files list",
        "files list",
        "finish",
    ]


async def test_a_client_that_would_resume_a_stream_is_given_a_new_one(stand: Stand) -> None:
    """No event has an id here, so that there is nothing to resume from; a server may pass the header over."""
    async with serving(stand) as served, httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        headers = {**await _greeted(http, served), "accept": "text/event-stream", "last-event-id": "1"}
        async with http.stream("GET", served.url, headers=headers) as answer:
            status = answer.status_code

    assert status == 200


async def _greeted(http: httpx2.AsyncClient, served: Served) -> dict[str, str]:
    """Return the headers of a client that has greeted."""
    headers = {
        "authorization": f"Bearer {TOKEN}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
    }
    greeted = await http.post(served.url, json=HELLO, headers=headers)
    headers["mcp-session-id"] = greeted.headers["mcp-session-id"]
    await http.post(served.url, json=INITIALIZED, headers=headers)
    return headers


def _call(number: int) -> dict[str, Any]:
    params = {"name": "files_list", "arguments": {}}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


async def test_a_client_cannot_name_two_sessions_in_one_request(stand: Stand) -> None:
    """One reader would take the first header and another the last: whose session ends, and whose is asked."""
    headers = [
        ("authorization", f"Bearer {TOKEN}"),
        ("mcp-session-id", "0" * 32),
        ("mcp-session-id", "1" * 32),
    ]
    async with serving(stand) as served, httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        twice = await http.delete(served.url, headers=headers)
        once = await http.delete(served.url, headers=headers[:2])

    assert (twice.status_code, twice.json()) == (400, {"error": "a header came twice"})
    assert once.status_code == 404


async def test_a_session_that_cannot_begin_is_told_in_one_line(stand: Stand) -> None:
    stand.housing.error = InvalidInputError("there is no engine", hint="start one")
    async with serving(stand) as served, client(served) as connected:
        first = await connected.call_tool("files_list", {})
        second = await connected.call_tool("files_list", {})

    assert first.is_error
    assert text(first).startswith("error (session): session ")
    assert "is over: there is no engine" in text(first)
    assert text(first) == text(second)


async def test_a_budget_that_runs_out_is_told(stand: Stand) -> None:
    policy = POLICY + "budget: {turns: 2}\n"
    async with serving(stand, policy) as served, client(served) as connected:
        results = [await connected.call_tool("files_list", {}) for _ in range(3)]

    assert [result.is_error for result in results] == [False, False, True]
    assert "the budget of turns ran out: 2 of 2 turns" in text(results[2])


async def test_a_call_that_was_taken_back_is_not_carried_out(stand: Stand) -> None:
    caller = Caller(
        lambda backend, watcher: stand.request(backend, watcher=watcher, session="", may_repeat=True),
        model="test",
    )
    slow = asyncio.create_task(caller.call_tool("files_list", "{}"))
    await asyncio.sleep(0)
    taken_back = asyncio.create_task(caller.call_tool("files_write", '{"path": "x", "content": "y"}'))
    await asyncio.sleep(0)
    taken_back.cancel()

    assert (await slow).kind == "done"
    await asyncio.gather(taken_back, return_exceptions=True)
    result = await caller.leave()

    assert result is not None
    assert not (stand.folder / "x").exists()
    assert [a["command"] for a in entries(stand, result.session, "action.intended")] == [
        "files list",
        "finish",
    ]


@pytest.mark.parametrize("token", ["short", "with a space in the middle", "caf\u00e9-0123456789-0123456789"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(InvalidInputError, match="expected 16 or more"):
        door.checked_token(token)


def test_a_token_that_is_not_given_is_made_anew() -> None:
    assert len({door.checked_token("") for _ in range(3)}) == 3


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    with door.listening(0) as first, pytest.raises(InvalidInputError, match="cannot be had"):
        door.listening(first.getsockname()[1])
