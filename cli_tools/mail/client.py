"""Speak with Microsoft Graph about one mailbox: httpx over a connector, errors as the agent is told them."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cli_tools import said
from cli_tools.errors import ActionError
from policies.capability import Capability
from policies.errors import BadValueError
from policies.urls import canonical_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import httpx2

    from cli_tools.command import Surroundings
    from cli_tools.said import Object

READS: Final = (Capability.FILES, Capability.NETWORK)
"""What a mailbox holds is private."""
SENDS: Final = (Capability.NETWORK,)
PAGE: Final = 50
MOST_PAGES: Final = 40
LONGEST_URL: Final = 8192
"""Characters of the URL of a further page."""
AS_TEXT: Final = {"Prefer": 'outlook.body-content-type="text"'}
_BY: Final = "the mail server"
_HINTS: Final = {
    "ErrorItemNotFound": "`mail list` and `mail search` show the ids of messages",
    "InvalidAuthenticationToken": "the operator's credential is not valid, or has expired",
    "ErrorAccessDenied": "the operator's credential lacks a permission",
    "Authorization_RequestDenied": "the operator's credential lacks a permission",
    "ErrorInvalidIdMalformed": "`mail list` and `mail search` show the ids of messages",
    "ErrorSendAsDenied": "the operator's credential may not send for this mailbox",
}


class Mailbox:
    """One mailbox.

    Args:
        http: A client whose requests go to it.
        url: Where it begins.
    """

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url

    async def get(
        self, path: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Object:
        """Return what lies at a path below the mailbox.

        Raises:
            ActionError: When the server refuses or answers with something else.
        """
        response = await self._http.get(f"{self._url}/{path}", params=query, headers=headers)
        return said.parsed(_accepted(response).content, by=_BY)

    async def content(self, path: str) -> bytes:
        """Return the bytes that lie at a path.

        Raises:
            ActionError: When the server refuses.
        """
        return _accepted(await self._http.get(f"{self._url}/{path}")).content

    async def post(self, path: str, body: Object | None = None) -> Object:
        """Post to a path, and return the answer; empty where there is none.

        Raises:
            ActionError: When the server refuses.
        """
        response = _accepted(await self._http.post(f"{self._url}/{path}", json=body or {}))
        return said.parsed(response.content, by=_BY) if response.content else {}

    async def patch(self, path: str, body: Object) -> Object:
        """Change what lies at a path, and return it.

        Raises:
            ActionError: When the server refuses.
        """
        response = _accepted(await self._http.patch(f"{self._url}/{path}", json=body))
        return said.parsed(response.content, by=_BY)

    async def pages(self, path: str, query: Mapping[str, str], *, size: int = PAGE) -> AsyncIterator[Object]:
        """Give the members of every page of a list, in order.

        Args:
            path: Below the mailbox.
            query: Of the first page; the server names those of further pages.
            size: Of a page.

        Raises:
            ActionError: When the server refuses, names a page elsewhere, or there are more than 40.
        """
        first = f"{self._url}/{path}"
        url, given = first, {**query, "$top": str(size)}
        for _ in range(MOST_PAGES):
            response = _accepted(await self._http.get(url, params=given or None))
            page = said.parsed(response.content, by=_BY)
            for each in said.members(page, "value"):
                yield each
            further = said.text(page, "@odata.nextLink")
            if not further:
                return
            # INVARIANT: of a page that the server names only the query is taken. It writes the path its own
            # way, `users('…')/mailFolders('…')`, or that of another mailbox, and the credential goes with it.
            url, given = f"{first}?{self._query_of(further)}", {}
        raise ActionError("too-many", f"{_BY} has more than {MOST_PAGES} pages of that", hint="narrow it")

    def _query_of(self, url: str) -> str:
        """Return the query of a page that the server names, which has to be its own."""
        no_url = ActionError("upstream", f"{_BY} names a page whose URL cannot be asked for")
        if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable():
            raise no_url
        try:
            target = canonical_url(url)
        except BadValueError as error:
            raise no_url from error
        if target.origin != canonical_url(self._url).origin:
            raise ActionError("upstream", f"{_BY} names a page on another server: `{said.shown(url)}`")
        return urlsplit(url).query


@asynccontextmanager
async def mailbox(surroundings: Surroundings) -> AsyncIterator[Mailbox]:
    """Yield the mailbox of this session."""
    import httpx2  # noqa: PLC0415 - only a command that asks needs it

    from cli_tools.transport import ConnectorTransport  # noqa: PLC0415 - brings it too

    connector = await surroundings.connectors.open("mail")
    transport = ConnectorTransport(connector)  # the connector's gate has the time limits
    async with httpx2.AsyncClient(transport=transport, trust_env=False, timeout=None) as http:
        yield Mailbox(http, f"{connector.base_url}/{connector.account}")


def _accepted(response: httpx2.Response) -> httpx2.Response:
    if response.is_success:
        return response
    try:
        error = said.member(json.loads(response.content), "error")
    except (ValueError, RecursionError):
        error = {}
    code = said.text(error, "code")
    if not code:
        raise ActionError("upstream", f"{_BY} answered with status {response.status_code} and no reason")
    why = said.shown(said.text(error, "message"))
    raise ActionError("refused", f"{_BY} refused: `{said.shown(code)}`, {why}", hint=_HINTS.get(code, ""))
