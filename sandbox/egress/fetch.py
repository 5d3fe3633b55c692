"""Make one request for a command: a URL in, a bounded answer out. Redirects are told, never followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from policies.errors import BadValueError
from policies.urls import canonical_url
from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.exchange import Exchange, Head, checked_headers, checked_method, credential_for
from sandbox.egress.rendering import rendered
from sandbox.egress.rules import Wanted
from sandbox.egress.speaking import begin
from sandbox.limits import MIB

if TYPE_CHECKING:
    from policies.urls import Target
    from sandbox.egress.border import Border
    from sandbox.egress.credentials import Headers
    from sandbox.egress.crossing import Crossing

DEFAULT_BODY_BYTES: Final = 8 * MIB
LARGEST_BODY_BYTES: Final = 32 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """A request to make."""

    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""
    action: str = ""
    body_bytes: int = DEFAULT_BODY_BYTES
    """How much of the answer's body is kept; the rest is not read."""
    render: bool = False
    """Whether the body is made readable text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer, whatever its status."""

    status: int
    reason: str
    headers: Headers
    """Names in small letters."""
    body: bytes
    truncated: bool
    """Whether the body went on beyond what is kept."""
    bytes_sent: int
    """Towards the server, head included."""
    bytes_received: int
    address: str
    """What was dialled."""
    rule: str
    """The rule that allowed it, as `origin:line:column` or its host."""
    url: str
    """What was asked for, canonical, without query."""

    def header(self, name: str) -> str:
        """Return the first value of a header; empty when there is none."""
        return next((value for given, value in self.headers if given == name.lower()), "")


async def fetch(border: Border, wanted: Fetch) -> Response:
    """Make a request.

    Args:
        border: What it passes.
        wanted: The request.

    Returns:
        The answer.

    Raises:
        EgressDeniedError: When it may not be made.
        UpstreamError: When there is no answer.
    """
    try:
        head = _head(wanted)
    except EgressDeniedError as denial:
        await border.refuse(denial, scheme="http", action=wanted.action)
        raise
    target = head.target
    question = Wanted(
        scheme="https" if target.scheme == "https" else "http",
        host=target.host,
        port=target.port,
        method=head.method,
        path=target.path,
        action=wanted.action,
    )
    async with border.crossing(question, approved=True) as crossing:  # the action's own decision asked
        credential = await credential_for(border, crossing)
        exchange = await begin(crossing, head, credential)
        if wanted.body:
            await exchange.send(wanted.body)
        await exchange.send_end()
        return await _response(exchange, crossing, wanted, target)


async def _response(exchange: Exchange, crossing: Crossing, wanted: Fetch, target: Target) -> Response:
    answer = await exchange.answer()
    bound = min(wanted.body_bytes, LARGEST_BODY_BYTES)
    kept = bytearray()
    async for data in exchange.body():
        kept += data
        if len(kept) > bound:
            break
    body = bytes(kept[:bound])
    kind = next((value for name, value in answer.headers if name == "content-type"), "")
    return Response(
        status=answer.status,
        reason=answer.reason,
        headers=answer.headers,
        body=rendered(body, kind) if wanted.render else body,
        truncated=len(kept) > bound,
        bytes_sent=crossing.share.sent_bytes,
        bytes_received=crossing.share.received_bytes,
        address=crossing.address,
        rule=crossing.rule.place,
        url=target.origin + target.path,
    )


def _head(wanted: Fetch) -> Head:
    try:
        target = canonical_url(wanted.url, method=wanted.method)
    except BadValueError as error:
        raise EgressDeniedError("protocol", error.message, hint=error.hint) from error
    query = urlsplit(wanted.url).query
    return Head(
        method=checked_method(wanted.method),
        target=target,
        query=f"?{query}" if query else "",
        headers=checked_headers(wanted.headers),
        length=len(wanted.body),
    )
