"""Decide who is let in: pure, from a request's line and headers alone.

What is kept out, and how: another machine (the server listens on loopback only); a page in this machine's
browser that lets its own name point here (DNS rebinding: `Host`), that makes the browser ask here (CSRF:
`Origin` and `Sec-Fetch-Site`, and there is nothing to change: only GET), or that frames an answer; another
user or program of this machine (a token that only the printed address holds, then a cookie). Cookies do not
know ports, so the cookie's path is unguessable too: no server on another port is sent it.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, urlsplit

from agent_runner.report.serving.answer import Answer, text

LONGEST_TARGET: Final = 1024
COOKIE: Final = "pairlock-report"


def _secret() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks for."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    """Names in lower case."""

    def values(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for known, value in self.headers if known == name]

    @property
    def path(self) -> str:
        """Return the path of the target, as it was sent."""
        return urlsplit(self.target).path


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The secrets of one server and where it listens."""

    port: int
    token: str = field(default_factory=_secret, repr=False)
    """In the printed address, and compared once."""
    cookie: str = field(default_factory=_secret, repr=False)
    """What a browser holds after that."""
    room: str = field(default_factory=_secret, repr=False)
    """The first part of every path."""

    @property
    def home(self) -> str:
        """Return the path below which everything lies."""
        return f"/{self.room}/"

    @property
    def address(self) -> str:
        """Return what a person opens."""
        return f"http://127.0.0.1:{self.port}{self.home}?token={self.token}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return what a browser of this machine calls the server."""
        return f"127.0.0.1:{self.port}", f"localhost:{self.port}"


def refusal(door: Door, request: Request) -> Answer | None:
    """Return why a request is refused, or how it gets its cookie; None when it is let in."""
    return _malformed(request) or _from_elsewhere(door, request) or _stranger(door, request)


def _malformed(request: Request) -> Answer | None:
    if request.method != "GET":
        return Answer(
            status=HTTPStatus.METHOD_NOT_ALLOWED, body=b"nothing but GET\n", more=(("Allow", "GET"),)
        )
    if len(request.target) > LONGEST_TARGET:
        return text(HTTPStatus.REQUEST_URI_TOO_LONG, "the address is too long")
    if not request.target.startswith("/") or request.target.startswith("//"):
        return text(HTTPStatus.BAD_REQUEST, "expected a path")
    if request.values("transfer-encoding") or set(request.values("content-length")) - {"0"}:
        return text(HTTPStatus.BAD_REQUEST, "a request has no body here")
    return None


def _from_elsewhere(door: Door, request: Request) -> Answer | None:
    if len(hosts := request.values("host")) != 1 or hosts[0] not in door.hosts:
        return text(HTTPStatus.MISDIRECTED_REQUEST, "this server has another name")
    if any(origin != f"http://{hosts[0]}" for origin in request.values("origin")):
        return text(HTTPStatus.FORBIDDEN, "asked for by another page")
    if any(site not in ("same-origin", "none") for site in request.values("sec-fetch-site")):
        return text(HTTPStatus.FORBIDDEN, "asked for by another page")
    return None


def _stranger(door: Door, request: Request) -> Answer | None:
    if _holds_cookie(door, request):
        return None
    if request.path == door.home and _holds_token(door, request):
        cookie = f"{COOKIE}={door.cookie}; Path={door.home}; HttpOnly; SameSite=Strict"
        more = (("Location", door.home), ("Set-Cookie", cookie))
        return Answer(status=HTTPStatus.SEE_OTHER, more=more)
    return text(HTTPStatus.FORBIDDEN, "open the address that `pairlock audit report --serve` printed")


def _holds_token(door: Door, request: Request) -> bool:
    try:
        given = parse_qs(urlsplit(request.target).query, max_num_fields=4).get("token", [])
    except ValueError:
        return False
    return len(given) == 1 and _same(given[0], door.token)


def _holds_cookie(door: Door, request: Request) -> bool:
    if not request.path.startswith(door.home):
        return False
    pairs = (pair.strip().partition("=") for value in request.values("cookie") for pair in value.split(";"))
    given = [value for name, _, value in pairs if name == COOKIE]
    return len(given) == 1 and _same(given[0], door.cookie)


def _same(given: str, secret: str) -> bool:
    """Compare in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), secret.encode())
