"""Call one tool of a configured MCP server with the protocol's own client, at a URL or in a container."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
)
from pydantic import ValidationError

from agent_runner.mcp import peers
from agent_runner.mcp.program import program_streams
from agent_runner.mcp.results import outcome_of
from cli_tools import said
from cli_tools.errors import ActionError
from cli_tools.transport import ConnectorTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp.client import Transport

    from cli_tools.command import Outcome
    from cli_tools.connector import Connector
    from sandbox.session import Sandbox

CALL_SECONDS: Final = 120.0
"""For connecting and the call itself."""
_AFTER_SENDING: Final = frozenset({"timeout", "upstream", "too-large"})
"""What a connector tells once the other side may have read the request."""
_CLOSED: Final = (CONNECTION_CLOSED, "Connection closed")
"""The client's own error: the server said nothing. Servers use its number, too, for errors of theirs."""
_NOT_BEGUN: Final = frozenset({INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS})
"""Errors of a server that has carried nothing out (JSON-RPC 2.0, 5.1)."""
_CALL: Final = b'"method":"tools/call"'
_KINDS: Final = frozenset({"application/json", "text/event-stream"})


@dataclass(slots=True, kw_only=True)
class _Asking:
    """How far one call has come; it outlives the contexts and what their ends raise."""

    refused: ActionError | None = None
    """What a connector refused: the client would wrap it."""
    calls: bool = False
    """Whether what is sent from now on is the call itself."""
    status: int = 200
    """Of HTTP, of the answer to the call."""
    is_said: bool = True
    """Whether that answer can be the protocol's; else the client makes up an error in its place."""
    results: list[CallToolResult] = field(default_factory=list[CallToolResult])


class _Transport(httpx2.AsyncBaseTransport):
    """Carry the client's requests, and keep what a connector refused.

    Args:
        connector: Where they go.
        asking: The call that they are for.
    """

    def __init__(self, connector: Connector, asking: _Asking) -> None:
        self._inner = ConnectorTransport(connector)
        self._asking = asking
        self._requests = 0
        self._messages = 0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Make one request; no stream is opened in which a server could speak unasked.

        Raises:
            httpx2.ConnectError: When the connector refuses.
        """
        if request.method == "GET":
            return httpx2.Response(405, request=request)
        self._requests += 1
        try:
            if self._requests > peers.MOST_REQUESTS:
                raise peers.too_many_requests()
            response = await self._inner.handle_async_request(request)
            peers.made_plain(response)
            if _CALL in await request.aread():
                self._asking.status = response.status_code
                self._asking.is_said = response.headers["content-type"] in _KINDS
            self._messages += peers.require_readable(response)
            if self._messages > peers.MOST_MESSAGES:
                raise peers.too_many_messages()
        except ActionError as error:
            self._asking.refused = self._asking.refused or error
            raise httpx2.ConnectError(error.message, request=request) from error
        return response


async def asked(connector: Connector, server: str, tool: str, arguments: Mapping[str, object]) -> Outcome:
    """Call a tool once, in a session of the protocol's own for this call alone.

    Args:
        connector: The way to the server.
        server: Its name, for messages.
        tool: What the server calls the tool.
        arguments: Their values.

    Raises:
        ActionError: When the connector or the server refuses, or nobody answers in time.
    """
    peers.silence()
    asking = _Asking()
    transport = _Transport(connector, asking)
    async with httpx2.AsyncClient(transport=transport, trust_env=False, timeout=CALL_SECONDS) as http:
        streams = streamable_http_client(connector.base_url, http_client=http)
        return await _answered(asking, streams, server, tool, arguments)


async def asked_inside(
    sandbox: Sandbox, argv: tuple[str, ...], server: str, tool: str, arguments: Mapping[str, object]
) -> Outcome:
    """Call a tool once of a server that is a program, started for this call alone.

    Args:
        sandbox: The connector's container.
        argv: The server there.
        server: Its name, for messages.
        tool: What the server calls the tool.
        arguments: Their values.

    Raises:
        ActionError: When the server refuses, ends, or does not answer in time.
    """
    peers.silence()
    asking = _Asking()
    return await _answered(
        asking, program_streams(sandbox, argv, asking_seconds=CALL_SECONDS), server, tool, arguments
    )


async def _answered(
    asking: _Asking, streams: Transport, server: str, tool: str, arguments: Mapping[str, object]
) -> Outcome:
    try:
        async with asyncio.timeout(CALL_SECONDS):
            await _call(asking, streams, tool, dict(arguments))
    except Exception as error:
        # What goes wrong once the answer is there, such as the end of the session, undoes nothing.
        if not asking.results:
            raise _told(asking, server, error) from error
    return outcome_of(asking.results[0])


async def _call(asking: _Asking, streams: Transport, tool: str, arguments: dict[str, Any]) -> None:
    params = CallToolRequestParams(name=tool, arguments=arguments)
    async with Client(streams) as client:
        asking.calls = True
        # INVARIANT: not `call_tool`, which fetches the server's own `outputSchema` and runs its patterns in
        # this loop: one that backtracks would stop the runner, its lease and its clocks for good.
        result = await client.session.send_request(CallToolRequest(params=params), CallToolResult)
        asking.results.append(result)


def _told(asking: _Asking, server: str, error: Exception) -> ActionError:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    refused = asking.refused
    if isinstance(error, ActionError):
        refused = refused or error
    if refused is not None:
        return _unknown(refused) if asking.calls and refused.code in _AFTER_SENDING else refused
    if isinstance(error, MCPError) and (error.code, str(error)) != _CLOSED:
        told = ActionError("refused", f"`{server}` refused: {said.shown(str(error))}")
        return told if _is_turned_away(asking, error.code) else _unknown(told)
    if isinstance(error, ValidationError):
        what = "no result: a question back, a task, or what the protocol does not know"
        return _unknown(ActionError("upstream", f"`{server}` answered with {what}"))
    timed_out = isinstance(error, TimeoutError)
    why = f"not answer within {CALL_SECONDS:.0f} s" if timed_out else f"not answer: `{type(error).__name__}`"
    told = ActionError("timeout" if timed_out else "upstream", f"`{server}` did {why}")
    return _unknown(told) if asking.calls else told


def _is_turned_away(asking: _Asking, code: int) -> bool:
    """Tell whether a server that refused has carried nothing out."""
    if not asking.calls or HTTPStatus.MULTIPLE_CHOICES <= asking.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return True
    return asking.status == HTTPStatus.OK and asking.is_said and code in _NOT_BEGUN


def _unknown(told: ActionError) -> ActionError:
    return ActionError(
        told.code,
        f"{told.message}; the call was sent, so it may have been done",
        hint="look whether it was before you call it again",
    )
