"""Carry the requests of Slack's client through a connector: the part of an aiohttp session that it uses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli_tools.connector import Connector
    from sandbox.egress.credentials import Headers
    from sandbox.egress.fetch import Response

_FORM = "application/x-www-form-urlencoded"
_DROPPED = frozenset({"content-type", "authorization", "host"})
"""What the client says of itself and of bodies; the credential is the connector's to give."""


class Answer:
    """One answer, as the client reads it.

    Args:
        response: What the connector brought.
    """

    def __init__(self, response: Response) -> None:
        self._response = response
        self.status = response.status
        self.headers = dict(response.headers)
        self.content_type = response.header("content-type").partition(";")[0].strip().lower()

    async def read(self) -> bytes:
        """Return the body."""
        return self._response.body

    async def text(self) -> str:
        """Return the body as text."""
        return self._response.body.decode("utf-8", "replace")

    async def json(self) -> object:
        """Return the body as JSON.

        Raises:
            json.JSONDecodeError: When it is none.
        """
        try:
            return json.loads(self._response.body)
        except (UnicodeDecodeError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from error


class Asked:
    """A request that is made when it is entered.

    Args:
        connector: Where it goes.
        method: In capital letters.
        url: With its query.
        headers: Of the request.
        body: Of the request.
    """

    def __init__(self, connector: Connector, method: str, url: str, headers: Headers, body: bytes) -> None:
        self._connector = connector
        self._method = method
        self._url = url
        self._headers = headers
        self._body = body

    async def __aenter__(self) -> Answer:
        response = await self._connector.request(
            self._method, self._url, headers=self._headers, body=self._body
        )
        return Answer(response)

    async def __aexit__(self, *_: object) -> None:
        """Nothing stays open: the answer is whole."""


class ConnectorSession:
    """Make requests as an `aiohttp.ClientSession` does, as far as Slack's client asks for it.

    Args:
        connector: Where they go.
    """

    closed = False

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    def request(self, method: str, url: str, **parts: object) -> Asked:
        """Return a request to enter.

        Args:
            method: In capital letters.
            url: Absolute.
            parts: `params`, `json`, `data`, `headers`; what concerns a connection is the connector's own.
        """
        query = _pairs(parts.get("params"))
        kind, body = _body(parts.get("json"), parts.get("data"))
        given = parts.get("headers")
        named = given.items() if isinstance(given, dict) else ()
        headers = tuple((str(name), str(value)) for name, value in named if name.lower() not in _DROPPED)
        if body:
            headers = (*headers, ("content-type", kind))
        return Asked(self._connector, method, f"{url}?{urlencode(query)}" if query else url, headers, body)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


def _pairs(values: object) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in values.items()] if isinstance(values, dict) else []


def _body(as_json: object, data: object) -> tuple[str, bytes]:
    if as_json is not None:
        return "application/json; charset=utf-8", json.dumps(as_json).encode()
    if isinstance(data, bytes):
        return "application/octet-stream", data
    form: Mapping[str, object] = data if isinstance(data, dict) else {}
    return _FORM, urlencode(_pairs(form)).encode()
