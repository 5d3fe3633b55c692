"""Call one tool of a configured MCP server with the protocol's own client, through a connector."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from cli_tools import said
from cli_tools.command import Outcome
from cli_tools.errors import ActionError
from cli_tools.transport import ConnectorTransport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp.types import CallToolResult

    from cli_tools.connector import Connector

CALL_SECONDS: Final = 120.0
"""For connecting and the call itself."""


class _Transport(httpx2.AsyncBaseTransport):
    """Carry the client's requests, and keep what a connector refused: the client would wrap it.

    Args:
        connector: Where they go.
    """

    def __init__(self, connector: Connector) -> None:
        self._inner = ConnectorTransport(connector)
        self.refused: ActionError | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Make one request; no stream is opened in which a server could speak unasked.

        Raises:
            httpx2.ConnectError: When the connector refuses.
        """
        if request.method == "GET":
            return httpx2.Response(405, request=request)
        try:
            return await self._inner.handle_async_request(request)
        except ActionError as error:
            self.refused = self.refused or error
            raise httpx2.ConnectError(error.message, request=request) from error


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
    transport = _Transport(connector)
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return _outcome(await _called(transport, connector.base_url, tool, dict(arguments)))
    except TimeoutError as error:
        raise ActionError("timeout", f"`{server}` did not answer within {CALL_SECONDS:.0f} s") from error
    except ActionError:
        raise
    except Exception as error:
        raise transport.refused or _told(server, error) from error


async def _called(
    transport: httpx2.AsyncBaseTransport, url: str, tool: str, arguments: dict[str, Any]
) -> CallToolResult:
    async with (
        httpx2.AsyncClient(transport=transport, trust_env=False, timeout=CALL_SECONDS) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        return await client.call_tool(tool, arguments)


def _told(server: str, error: Exception) -> ActionError:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, MCPError):
        return ActionError("refused", f"`{server}` refused: {said.shown(str(error))}")
    return ActionError("upstream", f"`{server}` did not do it: `{type(error).__name__}`")


def _outcome(result: CallToolResult) -> Outcome:
    parts = [_part(part) for part in result.content]
    return Outcome(exit_code=1 if result.is_error else 0, output="\n".join(parts).encode("utf-8", "replace"))


def _part(part: object) -> str:
    text = getattr(part, "text", None)
    if isinstance(text, str):
        return text
    return f"({getattr(part, 'type', 'something')} that is not text)"
