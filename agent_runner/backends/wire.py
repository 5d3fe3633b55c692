"""Hold the way to a model's server: one origin, a closed schema, few headers, bounded answers, no redirects.

Everything that an SDK sends passes here last, and everything that a server answers passes here first. The
SDKs read settings from the environment and would add headers, keys and paths of their own; none of it leaves.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import httpx2

from agent_runner.backends.closed import Api, require_closed
from agent_runner.backends.dynamo import SESSION_HEADER
from agent_runner.backends.events import EventsWithData
from agent_runner.backends.failure import Failure, ModelServerError, one_line
from agent_runner.package import pairlock_version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent_runner.backends.key import Key

MAXIMUM_ANSWER_BYTES: Final = 64 * 1024 * 1024
_KEPT_HEADERS: Final = frozenset({"content-type", "content-length", "accept", "anthropic-version"})
_ENDPOINTS: Final[dict[Api, str]] = {"chat": "/chat/completions", "messages": "/v1/messages"}
_LISTS: Final[dict[Api, str]] = {"chat": "/models", "messages": "/v1/models"}


class Door(httpx2.AsyncBaseTransport):
    """Let only what belongs to one server pass.

    Args:
        base_url: The server, as the operator wrote it.
        api: Which API it speaks.
        key: What it is shown; None for nothing. Bound to the origin of `base_url`.
        connect_seconds: The longest wait for a connection.
        silence_seconds: The longest wait for the next byte.
        proxy: A proxy of the operator's, None for none; the environment's proxies are not used.
        session: Says what keeps a session with one worker of NVIDIA Dynamo; empty for other servers.
        ready_path: Where, below `base_url`, Dynamo says whether its model is ready; empty for other servers.
    """

    def __init__(  # noqa: PLR0913 - the settings of one connection
        self,
        base_url: str,
        api: Api,
        key: Key | None,
        *,
        connect_seconds: float = 15.0,
        silence_seconds: float = 120.0,
        proxy: str | None = None,
        session: Callable[[], str] = str,
        ready_path: str = "",
    ) -> None:
        self._base = httpx2.URL(base_url)
        self._api: Api = api
        self._key = key
        self._session = session
        self._ready_path = ready_path
        self._timeout = {
            "connect": connect_seconds,
            "read": silence_seconds,
            "write": silence_seconds,
            "pool": connect_seconds,
        }
        self._inner = httpx2.AsyncHTTPTransport(proxy=proxy)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Check a request, send it, and bound the answer.

        Raises:
            ModelServerError: When the request may not leave, or the answer may not be read.
        """
        self._require_ours(request)
        if request.method == "POST":
            require_closed(self._api, json.loads(await request.aread()))
        self._replace_headers(request)
        request.extensions = {**request.extensions, "timeout": self._timeout}
        response = await self._inner.handle_async_request(request)
        coding = response.headers.get("content-encoding", "").strip().lower() or "identity"
        if coding != "identity" or not isinstance(response.stream, httpx2.AsyncByteStream):
            await response.aclose()
            if not response.is_success:  # what it says is lost, its status and how long to wait are not
                kept = {n: v for n, v in response.headers.items() if n.startswith("retry-after")}
                return httpx2.Response(response.status_code, headers=kept, content=b"", request=request)
            raise _answer_error(f"came as `{one_line(coding)}`, which was not asked for", kind="broken")
        response.stream = _Bounded(response.stream)
        kind = response.headers.get("content-type", "").lower()
        if request.method == "POST" and response.is_success and "application/json" not in kind:
            # Whatever it calls itself: the SDKs read all but JSON as a stream of events.
            response.stream = EventsWithData(response.stream)
        return response

    def _require_ours(self, request: httpx2.Request) -> None:
        """Refuse any other origin and path.

        INVARIANT: the key is only added to a request that passed here.
        """
        url, base = request.url, self._base
        root = base.path.rstrip("/")
        is_ours = (url.scheme, url.host, url.port) == (base.scheme, base.host, base.port)
        posted = request.method == "POST" and url.path == root + _ENDPOINTS[self._api]
        listed = request.method == "GET" and url.raw_path.decode("ascii") in self._gets(root)
        if not is_ours or url.query or url.userinfo or not (posted or listed):
            raise ModelServerError(
                f"capability: a request of `{request.method}` to `{url.host}{url.path}` is not this model's",
                failure=Failure(kind="capability"),
            )

    def _gets(self, root: str) -> set[str]:
        return {root + path for path in (_LISTS[self._api], self._ready_path) if path}

    def _replace_headers(self, request: httpx2.Request) -> None:
        kept = {name: value for name, value in request.headers.items() if name in _KEPT_HEADERS}
        host = request.headers.get("host", "")
        fresh = {"host": host, **kept, "accept-encoding": "identity"}
        fresh["user-agent"] = f"pairlock/{pairlock_version()}"
        if session := self._session():
            fresh[SESSION_HEADER] = session
        if self._key is not None:
            name, prefix = ("authorization", "Bearer ") if self._api == "chat" else ("x-api-key", "")
            fresh[name] = f"{prefix}{self._key.value}"
        request.headers = httpx2.Headers(fresh)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def client_through(door: Door) -> httpx2.AsyncClient:
    """Return a client that follows no redirect, reads no environment and has only this door."""
    return httpx2.AsyncClient(transport=door, trust_env=False, follow_redirects=False)


class _Bounded(httpx2.AsyncByteStream):
    """Give a stream's bytes up to a bound."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner
        self._ended = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._ended:  # OpenAI's SDK drains a stream that is read out, and would turn round in it for ever
            return
        left = MAXIMUM_ANSWER_BYTES
        async for piece in self._inner:
            left -= len(piece)
            if left < 0:
                raise _answer_error(f"has more than {MAXIMUM_ANSWER_BYTES} bytes", kind="too-large")
            yield piece
        self._ended = True

    async def aclose(self) -> None:
        await self._inner.aclose()


def _answer_error(what: str, *, kind: str) -> ModelServerError:
    failure = Failure(kind="too-large" if kind == "too-large" else "broken")
    return ModelServerError(f"the answer of the model's server {what}", failure=failure)
