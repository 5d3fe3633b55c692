"""Carry the requests of httpx through a connector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx2

if TYPE_CHECKING:
    from cli_tools.connector import Connector

_SENT: Final = frozenset({"content-type", "prefer", "accept"})
_PREFIX: Final = "mcp-"
_RETURNED: Final = frozenset({"content-type", "location", "mcp-session-id"})


class ConnectorTransport(httpx2.AsyncBaseTransport):
    """Carry httpx's requests through a connector.

    Args:
        connector: Where they go.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Make one request.

        Raises:
            ActionError: As the connector does.
        """
        response = await self._connector.request(
            request.method,
            str(request.url),
            headers=tuple((name, value) for name, value in request.headers.items() if _is_sent(name)),
            body=await request.aread(),
        )
        # The connector has undone the framing already, and asked for no compression.
        kept = [(name, value) for name, value in response.headers if _is_returned(name, value)]
        return httpx2.Response(response.status, headers=kept, content=response.body, request=request)


def _is_returned(name: str, value: str) -> bool:
    """Tell whether a header is kept: httpx takes only ASCII, and nothing else may stand in one."""
    return name in _RETURNED and value.isascii() and value.isprintable()


def _is_sent(name: str) -> bool:
    return name in _SENT or name.startswith(_PREFIX)
