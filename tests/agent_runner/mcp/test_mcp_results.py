"""What a configured MCP server answers: text, what is described, and what leaves open whether it was done."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from agent_runner.mcp.asking import asked
from cli_tools.errors import ActionError
from tests.agent_runner.mcp.test_mcp_hostile_server import WAIT_SECONDS, Server, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.egress.fetch import Response

MAY_BE_DONE: Final = "the call was sent, so it may have been done"


def said(**fields: Any) -> Callable[[object], Response]:
    """Return what answers a call with a result or an error."""
    return lambda number: answer(200, json.dumps({"jsonrpc": "2.0", "id": number, **fields}).encode())


def broken(code: int) -> Callable[[object], Response]:
    """Return what answers a call with an error of the protocol's."""
    return said(error={"code": code, "message": "no"})


@pytest.mark.parametrize(
    ("result", "output"),
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
        ({"content": [], "structuredContent": {"name": "caf\u00e9"}}, '{"name": "caf\u00e9"}'),
        ({"content": [{"type": "text", "text": "a"}], "structuredContent": {"name": "a"}}, "a"),
        (
            {"content": [{"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"}]},
            "(image that is not text: image/png, 5 bytes)",
        ),
        (
            {"content": [{"type": "resource", "resource": {"uri": "file:///a", "text": "one"}}]},
            "(file:///a)\none",
        ),
        (
            {"content": [{"type": "resource", "resource": {"uri": "file:///a", "blob": "aGVsbG8="}}]},
            "(file:///a that is not text: 5 bytes)",
        ),
        (
            {"content": [{"type": "resource_link", "uri": "https://a.example/", "name": "x"}]},
            "(a link to `x`, which is not followed: https://a.example/)",
        ),
        ({"content": []}, ""),
    ],
)
async def test_each_part_of_an_answer_is_shown_or_described(result: dict[str, Any], output: str) -> None:
    server = Server(said=said(result=result))

    outcome = await asyncio.wait_for(asked(server, "tracker", "create", {}), WAIT_SECONDS)

    assert (outcome.exit_code, outcome.output.decode()) == (0, output)


@pytest.mark.parametrize(
    ("answered", "code", "may_be_done"),
    [
        (broken(-32602), "refused", False),
        (broken(-32601), "refused", False),
        (broken(-32603), "refused", True),
        (broken(-32000), "refused", True),
        (broken(-32001), "refused", True),
        (lambda _: answer(401, b"{}"), "refused", False),
        (lambda _: answer(404, b"{}"), "refused", False),
        (lambda _: answer(307, b""), "refused", False),
        (lambda _: answer(500, b"oops"), "refused", True),
        (lambda _: answer(504, b"oops"), "refused", True),
        (lambda _: answer(202, b""), "refused", True),
        (lambda _: answer(200, b"<html>", "text/html"), "refused", True),
        (lambda _: answer(200, b"{"), "refused", True),
        (said(result={"resultType": "input_required", "inputRequests": {}}), "upstream", True),
        (said(result={"task": {"taskId": "1", "status": "working"}}), "upstream", True),
        (said(result={"content": [{"type": "hologram"}]}), "upstream", True),
    ],
)
async def test_a_refusal_says_whether_the_call_may_have_been_done(
    answered: Callable[[object], Response], code: str, *, may_be_done: bool
) -> None:
    """A model that takes it for one that was not made would make it again."""
    server = Server(said=answered)

    with pytest.raises(ActionError) as caught:
        await asyncio.wait_for(asked(server, "tracker", "create", {}), WAIT_SECONDS)

    assert (caught.value.code, MAY_BE_DONE in caught.value.message) == (code, may_be_done), (
        caught.value.message
    )
    assert server.heard.count("tools/call") == 1
