"""Choose the version of HTTP that a server has agreed to, and begin an exchange in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.egress.http1 import Http1Exchange

if TYPE_CHECKING:
    from sandbox.egress.credentials import Credential
    from sandbox.egress.crossing import Crossing
    from sandbox.egress.exchange import Exchange, Head


async def begin(crossing: Crossing, head: Head, credential: Credential | None) -> Exchange:
    """Dial, and send the request's head.

    Args:
        crossing: Allowed, not dialled yet.
        head: The request.
        credential: What the gate puts in; None for nothing.

    Raises:
        EgressDeniedError: When it may not be dialled, or is not well formed.
        UpstreamError: When nothing answers.
    """
    await crossing.connect(tls=head.target.scheme == "https")
    exchange = _exchange(crossing, head, credential)
    await exchange.send_head()
    return exchange


def _exchange(crossing: Crossing, head: Head, credential: Credential | None) -> Exchange:
    if not crossing.speaks_http2:
        return Http1Exchange(crossing, head, credential)
    from sandbox.egress.http2 import Http2Exchange  # noqa: PLC0415 - only where a server agreed to it

    return Http2Exchange(crossing, head, credential)
