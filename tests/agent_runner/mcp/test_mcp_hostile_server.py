"""A configured MCP server that means harm: it stops nothing here; a call that was made is told as made."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from agent_runner.mcp import asking
from agent_runner.mcp.asking import asked
from agent_runner.mcp.peers import MOST_MESSAGES, MOST_PARTS, MOST_REQUESTS, require_parts
from cli_tools.errors import ActionError
from sandbox.egress.fetch import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.egress.credentials import Headers

CHECKOUT: Final = Path(__file__).resolve().parents[3]
WAIT_SECONDS: Final = 60.0
BACKTRACKS: Final = {
    "type": "object",
    "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}},
}
ANSWER: Final = {
    "content": [{"type": "text", "text": "created"}],
    "structuredContent": {"x": "a" * 64 + "!"},
}
TOOL: Final = {"name": "create", "inputSchema": {"type": "object"}, "outputSchema": BACKTRACKS}


@dataclass
class Server:
    """A server's answers, given where a connector's would be; `cli_tools.connector.Connector`."""

    fails_at: str = ""
    """The method, of HTTP or of the protocol, that the connection does not survive."""
    said: Callable[[int], Response] | None = None
    """What answers the call, from its id; None for a plain answer."""
    heard: list[str] = field(default_factory=list)
    base_url: str = "https://hostile.example/mcp"
    account: str = ""

    async def request(self, method: str, url: str, *, headers: Headers = (), body: bytes = b"") -> Response:  # noqa: ARG002 - the protocol's parameters
        """Answer one request."""
        asked_for = json.loads(body) if body else {}
        name = asked_for.get("method", method)
        self.heard.append(name)
        if name == self.fails_at:
            raise ActionError("upstream", "`hostile.example` closed the connection")
        if "id" not in asked_for or "method" not in asked_for:
            return answer(202, b"")
        if name == "tools/call" and self.said is not None:
            return self.said(asked_for["id"])
        return answer(200, _answer(asked_for["id"], name))


def answer(status: int, body: bytes, kind: str = "application/json") -> Response:
    return Response(
        status=status,
        reason="",
        headers=(("content-type", kind), ("mcp-session-id", "s")),
        body=body,
        truncated=False,
        bytes_sent=0,
        bytes_received=len(body),
        address="",
        rule="",
        url="",
    )


def _answer(number: object, name: str) -> bytes:
    results: dict[str, Any] = {
        "initialize": {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "hostile", "version": "1"},
        },
        "tools/call": ANSWER,
        "tools/list": {"tools": [TOOL]},
    }
    found = {"result": results[name]} if name in results else {"error": {"code": -32601, "message": "no"}}
    return json.dumps({"jsonrpc": "2.0", "id": number, **found}).encode()


async def called(server: Server) -> str:
    """Return what a call of its tool told."""
    outcome = await asked(server, "hostile", "create", {})
    return outcome.output.decode()


def test_a_servers_own_pattern_is_never_run_in_the_runner() -> None:
    """The protocol's client would match its answer against `outputSchema`, with no bound, in our loop."""
    module = "tests.agent_runner.mcp.test_mcp_hostile_server"
    code = f"import asyncio; from {module} import *; print(asyncio.run(called(Server())))"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, timeout=WAIT_SECONDS, check=False
    )

    assert done.stdout == b"created\n", done.stderr


@pytest.mark.parametrize("fails_at", ["", "DELETE"])
async def test_a_call_that_was_answered_was_made_however_the_session_ends(fails_at: str) -> None:
    server = Server(fails_at=fails_at)

    assert await asyncio.wait_for(called(server), WAIT_SECONDS) == "created"
    assert (server.heard.count("tools/call"), "tools/list" in server.heard) == (1, False)


async def test_a_call_without_an_answer_may_have_been_done_and_one_never_sent_was_not() -> None:
    with pytest.raises(ActionError) as lost:
        await called(Server(fails_at="tools/call"))
    with pytest.raises(ActionError) as unsent:
        await called(Server(fails_at="initialize"))

    assert lost.value.message == (
        "`hostile.example` closed the connection; the call was sent, so it may have been done"
    )
    assert unsent.value.message == "`hostile.example` closed the connection"


def stream(
    *messages: bytes, end: bytes = b"\n", kind: str = "text/event-stream", code: str = "utf-8"
) -> Response:
    """Return an event stream of messages."""
    body = b"".join(b"event: message" + end + b"data: " + message + end + end for message in messages)
    return answer(200, body.decode().encode(code), kind)


def told(number: object, *, parts: int = 1, **fields: object) -> bytes:
    """Return an answer of some parts, with what else it says."""
    content = [{"type": "text", "text": "done"}] * parts
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": {"content": content, **fields}}).encode()


def hollow(number: object, part: str) -> bytes:
    """Return an answer that is short, and of very many parts that are not what they should be."""
    content = ",".join([part] * 200_000)
    return f'{{"jsonrpc": "2.0", "id": {number}, "result": {{"content": [{content}]}}}}'.encode()


def notice(method: str, **fields: object) -> bytes:
    """Return what a server says unasked; with an `id` it asks."""
    return json.dumps({"jsonrpc": "2.0", "method": method, **fields}).encode()


PROGRESS: Final = notice("notifications/progress", params={"progressToken": 1, "progress": 1})
CHANGED: Final = notice("notifications/tools/list_changed")


@pytest.mark.parametrize(
    "said",
    [
        lambda number: stream(told(number)),
        lambda number: stream(*[PROGRESS] * 100, *[CHANGED] * 100, told(number)),
        lambda number: stream(told(number), told(number, parts=2)),
        lambda number: stream(*[notice("roots/list", id=at) for at in range(3)], told(number)),
        lambda number: answer(200, told(number)),
        lambda number: stream(told(str(number))),
        lambda number: stream(*[PROGRESS] * (MOST_MESSAGES - 4), told(number), end=b"\r\n"),
        lambda number: stream(told(number), kind="Text/Event-Stream; charset=cp037"),
        lambda number: answer(200, told(number, meta="{[," * MOST_PARTS)),
    ],
)
async def test_an_answer_among_other_words_is_the_one_that_is_shown(said: Callable[[int], Response]) -> None:
    """The twin: notifications, questions back, and an answer that is said twice change nothing."""
    server = Server(said=said)

    assert await asyncio.wait_for(called(server), WAIT_SECONDS) == "done"
    assert "tools/list" not in server.heard


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (lambda number: stream(*[PROGRESS] * 4_500, told(number)), "more than 2000 messages for one call"),
        (lambda _: answer(200, b"\n" * 1_000_000, "text/event-stream"), "more than 2000 messages for one"),
        (
            lambda number: stream(*[PROGRESS] * MOST_MESSAGES, told(number)),
            "more than 2000 messages for one call",
        ),
        (
            lambda number: stream(*[PROGRESS] * 4_500, told(number), kind="Text/Event-Stream"),
            "more than 2000 messages for one call",
        ),
        (lambda number: answer(200, told(number, parts=30_000)), "more than 50000 values in one message"),
        (lambda number: answer(200, hollow(number, "0")), "more than 50000 values in one message"),
        (lambda number: answer(200, hollow(number, "[]")), "more than 50000 values in one message"),
        (lambda number: stream(b'"', hollow(number, "{}")), "more than 50000 values in one message"),
        (lambda number: stream(hollow(number, '""')), "more than 50000 values in one message"),
        (
            lambda number: stream(
                *[notice("sampling/createMessage", id=at, params={}) for at in range(100)], told(number)
            ),
            "it asked back more often than 16 times",
        ),
    ],
)
async def test_a_server_that_talks_without_end_is_not_read_and_the_loop_goes_on(
    said: Callable[[int], Response], why: str
) -> None:
    """What it says is made into objects in the loop that holds the guest's lease; it is bounded before."""
    server = Server(said=said)

    with pytest.raises(ActionError) as caught:
        await asyncio.wait_for(called(server), WAIT_SECONDS)

    assert caught.value.code == "too-large"
    assert why in caught.value.message
    assert caught.value.message.endswith("the call was sent, so it may have been done")
    assert len(server.heard) <= MOST_REQUESTS


@pytest.mark.parametrize(
    "body", [b"\x1b[2J{", b"[" * 40_000, b'{"jsonrpc": "2.0"}', b"\xff", b"null", b"9" * 9999]
)
async def test_what_is_no_answer_is_told_in_one_error_and_nothing_is_logged(
    body: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    server = Server(said=lambda _: answer(200, body))

    with pytest.raises(ActionError) as caught:
        await asyncio.wait_for(called(server), WAIT_SECONDS)

    assert caught.value.code == "refused"
    assert "\x1b" not in caught.value.message
    assert capfd.readouterr() == ("", "")


async def test_an_answer_to_another_call_is_not_taken_for_this_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "CALL_SECONDS", 1.0)

    with pytest.raises(ActionError) as caught:
        await asyncio.wait_for(
            called(Server(said=lambda number: answer(200, told(number + 90)))), WAIT_SECONDS
        )

    assert caught.value.code == "timeout"


@pytest.mark.parametrize("code", ["cp037", "utf-16-le"])
async def test_a_stream_is_read_as_it_was_bounded_whatever_it_calls_itself(code: str) -> None:
    """In another code no newline and no bracket is the byte that was counted; it is no message then."""
    messages = [PROGRESS] * (3 * MOST_MESSAGES)
    server = Server(said=lambda _: stream(*messages, kind=f"text/event-stream; charset={code}", code=code))

    with pytest.raises(ActionError):
        await asyncio.wait_for(called(server), WAIT_SECONDS)


@pytest.mark.parametrize(
    "message", [b'"' + b'\\"' * 500_000, b'"' * 199_999, b"\\" * 500_000, b'"\\', b"{" * MOST_PARTS]
)
def test_strings_that_never_end_are_looked_through_once(message: bytes) -> None:
    require_parts(message)


@pytest.mark.parametrize("message", [b"[" * (MOST_PARTS + 1), b'""' * (4 * MOST_PARTS + 1)])
def test_a_part_more_than_may_be_is_too_many(message: bytes) -> None:
    with pytest.raises(ActionError, match=f"more than {MOST_PARTS} values"):
        require_parts(message)
