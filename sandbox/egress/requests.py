"""Carry a container's HTTP/1.1 requests to servers, one decision for each; both sides are framed anew."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

import h11

from policies.errors import BadValueError
from policies.urls import Target, canonical_url
from sandbox.egress.ends import GoneError
from sandbox.egress.errors import EgressDeniedError, EgressError, UpstreamError
from sandbox.egress.exchange import (
    Answer,
    Head,
    checked_headers,
    checked_method,
    credential_for,
)
from sandbox.egress.framing import HEAD_BYTES, check_head
from sandbox.egress.rules import Wanted
from sandbox.egress.speaking import begin

if TYPE_CHECKING:
    from sandbox.egress.border import Border
    from sandbox.egress.crossing import Crossing
    from sandbox.egress.ends import Inlet

_HINT: Final = "the Host header and the target must name the same host and port"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the requests of a tunnel go, whatever they say."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    within: str
    """The tunnel's connection."""


async def serve_requests(border: Border, inlet: Inlet, *, origin: Origin | None, action: str = "") -> None:
    """Carry requests until the client closes or one of them cannot be followed by another.

    Args:
        border: What each of them passes.
        inlet: The container's end.
        origin: Where they go, inside a tunnel; None where each names its own place.
        action: The action that they belong to; empty where that is not known.

    Raises:
        GoneError: When the client is gone.
    """
    while True:
        served = _Served(border, inlet, origin, action)
        if not await served.serve():
            return


class _Served:
    """One request of a client's, and what it is answered."""

    def __init__(self, border: Border, inlet: Inlet, origin: Origin | None, action: str) -> None:
        self._border = border
        self._inlet = inlet
        self._origin = origin
        self._action = action
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)

    async def serve(self) -> bool:
        """Return whether another request may follow."""
        try:
            raw = await self._inlet.head(HEAD_BYTES)
            if not raw:
                return False
            head = self._head(raw)
        except EgressDeniedError as denial:
            scheme = self._origin.scheme if self._origin else "http"
            await self._border.refuse(denial, scheme=scheme, action=self._action)
            await self._tell(denial)
            return False
        try:
            await self._carry(head)
        except EgressError as error:
            await self._tell(error)
            return False
        return self._next()

    async def _carry(self, head: Head) -> None:
        target = head.target
        wanted = Wanted(
            scheme="https" if target.scheme == "https" else "http",
            host=target.host,
            port=target.port,
            method=head.method,
            path=target.path,
            action=self._action,
            within=self._origin.within if self._origin else "",
        )
        async with self._border.crossing(wanted, query=head.query) as crossing:
            await self._exchange(head, crossing)

    async def _exchange(self, head: Head, crossing: Crossing) -> None:
        credential = await credential_for(self._border, crossing)
        exchange = await begin(crossing, head, credential)
        if self._http.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        while data := await self._body():
            await exchange.send(data)
        await exchange.send_end()
        await self._send(_as_response(await exchange.answer()))
        async for data in exchange.body():
            await self._send(h11.Data(data=data))
        await self._send(h11.EndOfMessage())

    def _head(self, raw: bytes) -> Head:
        check_head(raw)
        self._http.receive_data(raw)
        try:
            request = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise EgressDeniedError("protocol", f"the request is not well formed: {error}") from error
        if not isinstance(request, h11.Request):
            raise EgressDeniedError("protocol", "the request is not well formed")
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
        method = checked_method(request.method.decode("ascii"))
        target, query = self._target(request.target.decode("ascii"), method)
        named = next((value for name, value in headers if name == "host"), None)
        _check_host(named, target)
        length = next((int(value) for name, value in headers if name == "content-length"), None)
        chunked = any(name == "transfer-encoding" for name, _ in headers)
        return Head(
            method=method,
            target=target,
            query=query,
            headers=checked_headers(tuple(headers)),
            length=None if chunked else length or 0,
        )

    def _target(self, text: str, method: str) -> tuple[Target, str]:
        if self._origin is not None:
            if not text.startswith("/"):
                raise EgressDeniedError(
                    "protocol", "a request inside a tunnel begins with a path", hint=_HINT
                )
            name = f"[{self._origin.host}]" if ":" in self._origin.host else self._origin.host
            text = f"{self._origin.scheme}://{name}:{self._origin.port}{text}"
        try:
            target = canonical_url(text, method=method)
        except BadValueError as error:
            raise EgressDeniedError("protocol", error.message, hint=error.hint) from error
        if self._origin is None and target.scheme != "http":
            raise EgressDeniedError("protocol", "https goes through CONNECT", hint="set HTTPS_PROXY too")
        query = urlsplit(text).query
        return target, f"?{query}" if query else ""

    async def _body(self) -> bytes:
        """Return the next bytes of the request's body; empty at its end."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise EgressDeniedError("protocol", f"the body is not well formed: {error}") from error
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if event is not h11.NEED_DATA:
                return b""
            if not (data := await self._inlet.read()):
                raise GoneError
            self._http.receive_data(data)

    async def _send(self, event: h11.Event) -> None:
        try:
            data = self._http.send(event)
        except h11.LocalProtocolError as error:
            raise UpstreamError("upstream", f"the answer cannot be framed: {error}") from error
        if data:
            await self._inlet.write(data)

    async def _tell(self, error: EgressError) -> None:
        """Answer with what went wrong, unless an answer has begun: then only closing says so."""
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            raise GoneError
        await self._inlet.write(error_answer(error))

    def _next(self) -> bool:
        """Return whether request and answer are whole, and keep what came after them."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._inlet.push_back(self._http.trailing_data[0])
        return True


def error_answer(error: EgressError) -> bytes:
    """Return a whole answer that says what a denial or failure says, for programs and for people.

    Args:
        error: What went wrong.
    """
    denied = isinstance(error, EgressDeniedError)
    code = error.code if isinstance(error, EgressDeniedError | UpstreamError) else "gate"
    status = "403 Forbidden" if denied else "504 Gateway Timeout" if code == "timeout" else "502 Bad Gateway"
    told = {
        "error": "denied" if denied else "failed",
        "code": code,
        "message": error.message,
        "hint": error.hint,
    }
    if isinstance(error, EgressDeniedError) and error.rule:
        told["rule"] = error.rule
    body = json.dumps(told).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        f"x-pairlock-code: {code}\r\nconnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def _check_host(named: str | None, target: Target) -> None:
    if named is None:
        return
    try:
        asked = canonical_url(f"{target.scheme}://{named}/")
    except BadValueError as error:
        raise EgressDeniedError("protocol", "the Host header names no host", hint=_HINT) from error
    if asked.origin != target.origin or any(mark in named for mark in "/?#"):
        raise EgressDeniedError(
            "protocol", f"the Host header names `{asked.host}`, the target `{target.host}`", hint=_HINT
        )


def _as_response(answer: Answer) -> h11.Response:
    headers = [*answer.headers]
    if answer.length is not None:
        headers.append(("content-length", str(answer.length)))
    reason = answer.reason.encode("latin-1")
    try:
        return h11.Response(status_code=answer.status, reason=reason, headers=headers)
    except h11.LocalProtocolError as error:
        raise UpstreamError("upstream", f"the answer cannot be framed: {error}") from error
