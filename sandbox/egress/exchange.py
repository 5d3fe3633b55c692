"""Say what one request and its answer are, whatever version of HTTP carries them: `http1`, `http2`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.egress.credentials import Mask
from sandbox.egress.errors import EgressDeniedError, UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from policies.urls import Target
    from sandbox.egress.border import Border
    from sandbox.egress.credentials import Credential, Headers
    from sandbox.egress.crossing import Crossing

HEAD_BYTES: Final = 64 * 1024
MOST_HEADERS: Final = 128
_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,31}")
_NEVER: Final = frozenset({"CONNECT", "TRACE", "TRACK"})
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]{0,16384}")
_LENGTH: Final = re.compile(r"[0-9]{1,19}")
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    }
)
"""Headers of one connection, RFC 9110 7.6.1; they are never handed on."""
_OURS: Final = frozenset({"host", "content-length", "expect"})
_OVERRIDING: Final = frozenset(
    {
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-uri",
        "x-original-url",
        "x-rewrite-url",
        "x-forwarded-host",
        "x-forwarded-uri",
        "x-host",
        "x-http-host-override",
        "forwarded",
    }
)
"""Headers by which servers let a request be another than its first line and `Host` say."""
_PARTS: Final = frozenset({"range", "if-range"})
_FORGED: Final = "x-pairlock-"
MOST_INTERIM: Final = 100
"""Interim answers, as 103, before the one that counts."""
_PARTIAL: Final = 206


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A request without its body, canonical."""

    method: str
    target: Target
    query: str = ""
    """With its `?`; empty for none."""
    headers: Headers = ()
    """Names in small letters, without those that the gate writes itself."""
    length: int | None = 0
    """Bytes of the body; None when they are not known beforehand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The head of an answer."""

    status: int
    reason: str
    headers: Headers
    """Names in small letters, without those of the connection; echoes of the credential masked."""
    length: int | None
    """Bytes of the body that were announced; None when unknown."""


def checked_method(text: str) -> str:
    """Return a method that may be asked about.

    Raises:
        EgressDeniedError: When it is none, or one that no rule can allow.
    """
    if not _METHOD.fullmatch(text) or text in _NEVER:
        raise EgressDeniedError(
            "method", f"method `{_shown(text)}` is not allowed by any rule", hint="use GET"
        )
    return text


def checked_headers(headers: Headers) -> Headers:
    """Return what is handed on of a request's headers: end to end ones, names in small letters.

    Raises:
        EgressDeniedError: When a name or value is none, when there are too many, or when one of them asks for
            something else than what is decided.
    """
    if len(headers) > MOST_HEADERS:
        raise EgressDeniedError("protocol", f"{len(headers)} headers; at most {MOST_HEADERS} are sent")
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise EgressDeniedError("protocol", f"header `{_shown(name)}` is not well formed")
    small = [(name.lower(), value.strip(" \t")) for name, value in headers]
    _check_meaning(small)
    return _end_to_end(small, also=_OURS)


def _check_meaning(headers: list[tuple[str, str]]) -> None:
    """Refuse a request that a server could take for another; gateways of servers read `_` as `-`."""
    for name, value in headers:
        if name.replace("_", "-") in _OVERRIDING:
            raise EgressDeniedError(
                "protocol",
                f"header `{name}` asks for another method, path or host than the request itself",
                hint="leave it out: what is decided is the request line and `Host`",
            )
        if name == "upgrade" and "websocket" in value.lower():
            raise EgressDeniedError(
                "protocol",
                "a WebSocket is not carried where requests are read",
                hint="inside TLS it is, under a rule without methods, paths and credential",
            )


def _end_to_end(headers: list[tuple[str, str]], *, also: frozenset[str] = frozenset()) -> Headers:
    listed = (value for name, value in headers if name == "connection")
    named = {word.strip().lower() for value in listed for word in value.split(",")}
    dropped = HOP_BY_HOP | also | named
    return tuple((name, value) for name, value in headers if name not in dropped)


class Exchange:
    """One request and one answer, in whatever version of HTTP; a redirect is an answer like any other.

    Args:
        crossing: Dialled.
        head: The request.
        credential: What the gate puts in; None for nothing.
    """

    def __init__(self, crossing: Crossing, head: Head, credential: Credential | None) -> None:
        self._crossing = crossing
        self._head = head
        self._credential = credential
        echoes = credential.echoes() if credential else frozenset()
        self._mask = Mask(echoes)
        self._mask_of_names = Mask(frozenset(echo.lower() for echo in echoes))

    async def send_head(self) -> None:
        """Send the request's head."""
        raise NotImplementedError

    async def send(self, data: bytes) -> None:
        """Send a part of the body."""
        raise NotImplementedError

    async def send_end(self) -> None:
        """Say that the body is whole."""
        raise NotImplementedError

    async def answer(self) -> Answer:
        """Return the head of the answer; interim ones are skipped, a change of protocol is refused.

        Raises:
            UpstreamError: When it is none.
        """
        raise NotImplementedError

    def body(self) -> AsyncIterator[bytes]:
        """Yield the body of the answer, echoes masked.

        Raises:
            UpstreamError: When it ends before it is whole.
        """
        raise NotImplementedError

    @property
    def authority(self) -> str:
        """Host, and port where it is not the scheme's own."""
        target = self._head.target
        default = {"http": 80, "https": 443}[target.scheme]
        name = f"[{target.host}]" if ":" in target.host else target.host
        return name if target.port == default else f"{name}:{target.port}"

    def _end_to_end(self) -> Headers:
        """Return the request's headers, the credential in place of what the agent wrote."""
        put_in = self._credential.headers() if self._credential else ()
        replaced = {name for name, _ in put_in}
        if put_in:  # an echo that comes in parts or compressed could not be found
            replaced |= {"authorization", "accept-encoding", *_PARTS}
        kept = [(name, value) for name, value in self._head.headers if name not in replaced]
        encoding = [("accept-encoding", "identity")] if put_in else []
        return (*kept, *put_in, *encoding)

    def _as_answer(self, status: int, reason: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Answer:
        self._crossing.status = status
        raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        if len(raw) > MOST_HEADERS or sum(len(name) + len(value) for name, value in raw) > HEAD_BYTES:
            raise self._broken(f"has a head of more than {MOST_HEADERS} headers, or {HEAD_BYTES} bytes")
        if self._credential and any(
            name == "content-encoding" and value.strip().lower() != "identity" for name, value in raw
        ):
            raise self._broken("is compressed, so that an echoed credential could not be found")
        if self._credential and status == _PARTIAL:
            raise self._broken("is a part, so that an echoed credential could not be found")
        lengths = {value for name, value in raw if name == "content-length"}
        chunked = any(name == "transfer-encoding" for name, _ in raw)
        masked = [(self._masked_name(name), self._masked(value)) for name, value in raw]
        return Answer(
            status=status,
            reason=self._mask.whole(reason).decode("latin-1"),
            headers=tuple(pair for pair in _end_to_end(masked) if not _is_gates_own(pair[0])),
            length=None if chunked else self._length(lengths),
        )

    def _masked(self, value: str) -> str:
        return self._mask.whole(value.encode("latin-1")).decode("latin-1")

    def _masked_name(self, name: str) -> str:
        """Mask a header's name, which has been brought into small letters; an asterisk may stand in one."""
        return self._mask_of_names.whole(name.encode("latin-1")).decode("latin-1")

    def _length(self, announced: set[str]) -> int | None:
        if len(announced) != 1:
            return None
        (text,) = announced
        if not _LENGTH.fullmatch(text):
            raise self._broken("announces a length that is no number")
        return int(text)

    def _broken(self, what: str) -> UpstreamError:
        return UpstreamError("upstream", f"the answer of `{self._crossing.wanted.host}` {what}")


def _is_gates_own(name: str) -> bool:
    """Tell whether a header of an answer is the gate's to write: its length, and the marks of a refusal."""
    return name == "content-length" or name.startswith(_FORGED)


async def credential_for(border: Border, crossing: Crossing) -> Credential | None:
    """Return what a crossing's rule puts in; None for nothing."""
    return await border.secrets.secret(crossing.rule.credential) if crossing.rule.credential else None


def _shown(text: str) -> str:
    return text[:40].encode("ascii", "backslashreplace").decode("ascii").replace("`", "'")
