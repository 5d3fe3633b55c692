"""Serve the protocol over streamable HTTP: loopback only, a token, and each client its own session.

The revision of the protocol that knows no sessions is refused: clients then use the one before it, in which
the server can tell them apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import UNSUPPORTED_PROTOCOL_VERSION
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.responses import JSONResponse, Response

from agent_runner.errors import InvalidInputError
from agent_runner.mcp.connections import BoundedProtocol
from agent_runner.mcp.peers import LARGEST_MESSAGE_BYTES
from agent_runner.mcp.serving import MOST_CLIENTS, SESSION_HEADER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from mcp.server.lowlevel import Server
    from starlette.types import Message, Receive, Scope, Send

    from agent_runner.mcp.serving import Callers

HOST: Final = "127.0.0.1"
PATH: Final = "/mcp"
IDLE_SECONDS: Final = 1800.0
LOOK_SECONDS: Final = 5.0
SHORTEST_TOKEN: Final = 16
_TOKEN_BYTES: Final = 32
_REFUSALS: Final = frozenset({403, 413, 421})
"""What the library answers before it looks whose session is asked for."""


class Doorman:
    """Let requests through that bring the token, and note which clients have gone.

    Args:
        manager: Who serves them.
        callers: The clients' sessions.
        token: What each request has to bring.
        monotonic: A clock in seconds.
    """

    def __init__(
        self,
        manager: StreamableHTTPSessionManager,
        callers: Callers,
        token: str,
        *,
        monotonic: Callable[[], float],
    ) -> None:
        self._manager = manager
        self._callers = callers
        self._token = token.encode()
        self._monotonic = monotonic
        self._busy: dict[str, int] = {}
        self._last: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        headers = dict(pairs)
        refusal = self._refusal(scope["path"], headers) or _said_twice([name for name, _ in pairs])
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        key = headers.get(SESSION_HEADER, "")
        statuses: list[int] = []

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        # The library answers 500 to whoever would resume a stream where no event has an id.
        kept = [pair for pair in scope["headers"] if pair[0] != b"last-event-id"]
        try:
            async with self._noted(key):
                await self._manager.handle_request({**scope, "headers": kept}, receive, told)
        finally:  # a client that says goodbye has gone, whether it hears the answer or not
            if key and scope["method"] == "DELETE" and not _REFUSALS.intersection(statuses):
                self._gone(key)

    async def leave_the_idle(self) -> None:
        """End the sessions of clients that have asked nothing for half an hour, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = self._monotonic()
            for key in [key for key, last in self._last.items() if now - last > IDLE_SECONDS]:
                if not self._busy.get(key):
                    self._gone(key)

    def _refusal(self, path: str, headers: dict[str, str]) -> Response | None:
        given = headers.get("authorization", "").encode()
        if not secrets.compare_digest(given, b"Bearer " + self._token):
            # Closed, so that without the token no connection counts as one that has asked something.
            headers_back = {"www-authenticate": "Bearer", "connection": "close"}
            return JSONResponse({"error": "a token is needed"}, status_code=401, headers=headers_back)
        if path != PATH:
            return JSONResponse({"error": f"there is nothing but {PATH}"}, status_code=404)
        version = headers.get("mcp-protocol-version")
        if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
            return _unsupported(version)
        return None

    @contextlib.asynccontextmanager
    async def _noted(self, key: str) -> AsyncIterator[None]:
        self._busy[key] = self._busy.get(key, 0) + 1
        try:
            yield
        finally:
            self._busy[key] -= 1
            if not self._busy[key]:
                del self._busy[key]
            if self._callers.knows(key):  # another's key is whatever a request says
                self._last[key] = self._monotonic()

    def _gone(self, key: str) -> None:
        self._last.pop(key, None)
        self._callers.gone(key)


def _said_twice(names: list[str]) -> Response | None:
    """Refuse a header that two readers could take for two: which client asks, and for which host."""
    if any(names.count(name) > 1 for name in (SESSION_HEADER, "host", "origin", "authorization")):
        return JSONResponse({"error": "a header came twice"}, status_code=400)
    return None


def _unsupported(version: str) -> Response:
    data = {"supported": list(HANDSHAKE_PROTOCOL_VERSIONS), "requested": version[:64]}
    message = "this server tells clients apart by their sessions"
    error = {"code": UNSUPPORTED_PROTOCOL_VERSION, "message": message, "data": data}
    return JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, status_code=400)


class _Listening(uvicorn.Server):
    """Serve without touching signals, which are the command line's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def checked_token(given: str) -> str:
    """Return the token that was given, or a new one.

    Raises:
        InvalidInputError: When it is shorter than 16 characters, or no header can carry it.
    """
    if not given:
        return secrets.token_urlsafe(_TOKEN_BYTES)
    if len(given) < SHORTEST_TOKEN or not given.isascii() or not given.isprintable() or " " in given:
        raise InvalidInputError(
            f"the token has {len(given)} characters, expected {SHORTEST_TOKEN} or more of printable ASCII"
        )
    return given


def listening(port: int) -> socket.socket:
    """Return a socket that listens on a port of loopback; 0 takes a free one.

    Raises:
        InvalidInputError: When the port is taken.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((HOST, port))
        found.listen(MOST_CLIENTS)
    except OSError as error:
        found.close()
        raise InvalidInputError(f"port `{port}` of {HOST} cannot be had: {error.strerror}") from error
    return found


async def serve_http(server: Server[Any], callers: Callers, at: socket.socket, token: str) -> None:
    """Serve until cancelled.

    Args:
        server: The protocol's server.
        callers: The clients' sessions; ended when this returns.
        at: Where it listens; closed at the end.
        token: What each request has to bring.
    """
    port = at.getsockname()[1]
    hosts = [f"{HOST}:{port}", f"localhost:{port}"]
    manager = StreamableHTTPSessionManager(
        server,
        security_settings=TransportSecuritySettings(allowed_hosts=hosts),
        session_idle_timeout=IDLE_SECONDS,
        max_request_body_size=LARGEST_MESSAGE_BYTES,
        max_sessions=MOST_CLIENTS,
    )
    doorman = Doorman(manager, callers, token, monotonic=asyncio.get_running_loop().time)
    configured = uvicorn.Config(
        doorman,
        http=BoundedProtocol,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
        ws="none",
    )
    serving = _Listening(configured)
    async with manager.run():
        task = asyncio.create_task(serving.serve(sockets=[at]))
        idle = asyncio.create_task(doorman.leave_the_idle())
        try:
            await asyncio.shield(task)
        finally:
            idle.cancel()
            await callers.close()
            serving.should_exit = True
            await asyncio.gather(task, idle, return_exceptions=True)


def announced(port: int) -> str:
    """Return what is told of where it listens, as JSON."""
    return json.dumps({"url": f"http://{HOST}:{port}{PATH}"})
