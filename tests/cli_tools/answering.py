"""Serve an API on loopback over TLS, and open connectors to it: the real gate, the real client libraries."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from agent_runner.connectors import SessionConnectors
from agent_runner.connectors_ordered import Ordered
from sandbox.egress.credentials import Credential
from sandbox.egress.gate import EgressGate
from sandbox.egress.rules import Limits, RuleSet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent_runner.connectors_configured import ConfiguredConnectors
    from sandbox.egress.events import Event
    from tests.sandbox.egress.ground import Authority

TOKEN = "xoxb-a-token-of-the-tests"  # noqa: S105 - no real one


@dataclass
class Request:
    """One request as the server had it."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


@dataclass
class Served:
    """A server, and what it was asked."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)

    def asked(self, path: str) -> list[Request]:
        """Return the requests for a path, which may end in what is looked for."""
        return [request for request in self.requests if request.path.endswith(path)]


@contextlib.asynccontextmanager
async def served(answer: Callable[[Request], web.Response], authority: Authority) -> AsyncIterator[Served]:
    """Answer on a port of loopback."""
    kept = Served()

    async def handle(request: web.Request) -> web.Response:
        raw = await request.read()
        kind = request.content_type
        body: Any = raw
        if raw and kind == "application/json":
            body = await request.json()
        elif raw and kind == "application/x-www-form-urlencoded":
            body = dict(await request.post())
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Request(request.method, request.path, dict(request.query), body, headers)
        kept.requests.append(seen)
        return answer(seen)

    application = web.Application(client_max_size=32 * 1024 * 1024)
    application.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.server("127.0.0.1"))
    await site.start()
    kept.port = runner.addresses[0][1]
    try:
        yield kept
    finally:
        await runner.cleanup()


@dataclass
class Opened:
    """Connectors, and what their gates told."""

    connectors: SessionConnectors
    events: list[Event]


@contextlib.asynccontextmanager
async def opened(  # noqa: PLR0913 - a connector in all its parts
    configured: ConfiguredConnectors,
    name: str,
    authority: Authority,
    *,
    reads: bool = True,
    token: str = TOKEN,
    sent_bytes: int = 4 * 1024 * 1024,
) -> AsyncIterator[Opened]:
    """Open a connector as a session does."""
    server = configured.server(name)
    assert server is not None
    order = Ordered(
        name=name,
        base_url=server.base_url,
        account=server.account,
        rules=server.rules(reads=reads),
        ca_file=authority.file,
    )
    events: list[Event] = []

    async def keep(event: Event) -> None:
        events.append(event)

    async def find(_: str) -> Credential:
        return Credential(value=token)

    async with contextlib.AsyncExitStack() as stack:

        def start(order: Ordered) -> contextlib.AbstractAsyncContextManager[EgressGate]:
            rules = RuleSet(rules=order.rules, limits=Limits(sent_bytes=sent_bytes))
            return EgressGate.start(rules, journal=keep, credentials=find, ca_file=order.ca_file)

        yield Opened(SessionConnectors({name: order}, stack, start), events)
