"""Declare `http`: one request through the egress gate, which decides it again and counts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cli_tools.command import Body, Command, Outcome, Surroundings, Url, WorkspacePath, command
from cli_tools.errors import ActionError, UsageError
from cli_tools.files import answer
from cli_tools.neutral import field
from policies.capability import Capability
from sandbox.egress.errors import EgressDeniedError, GateLostError, UpstreamError
from sandbox.egress.fetch import LARGEST_BODY_BYTES

if TYPE_CHECKING:
    from sandbox.egress.credentials import Headers
    from sandbox.egress.fetch import Response

_NEEDS: Final = (Capability.NETWORK,)
_SHOWN: Final = (
    "content-type",
    "content-length",
    "location",
    "etag",
    "last-modified",
    "link",
    "retry-after",
    "allow",
)
_MOST_HEADERS: Final = 16
_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-language",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-unmodified-since",
        "range",
    }
)
"""What a command may set. Servers and what stands before them obey others, such as X-HTTP-Method-Override, so
that a rule on methods or paths would not bind; and a credential comes from a rule alone."""
_BODY_BYTES: Final = 2 * 1024 * 1024
_OK: Final = 200


def _parameters(method: str, *, body: bool) -> tuple[click.Parameter, ...]:
    header = click.Option(
        ["--header"], multiple=True, help="A header, as `Accept: text/plain`; may be repeated."
    )
    raw = click.Option(["--raw"], is_flag=True, help="The body as it came, not made readable.")
    content = click.Option(["--content"], type=Body(), help="The body to send.")
    kind = click.Option(["--type", "kind"], default="application/json", help="The content type of the body.")
    url = click.Argument(["url"], type=Url(method))
    return (header, raw, *((content, kind) if body else ()), url)


def _headers(given: tuple[str, ...]) -> Headers:
    if len(given) > _MOST_HEADERS:
        raise UsageError("usage", f"{len(given)} headers, at most {_MOST_HEADERS} are sent")
    return tuple(_header(text) for text in given)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UsageError("usage", f"`--header {text[:60]}` has no colon", hint="as in `Accept: text/plain`")
    if name.strip().lower() not in _HEADERS:
        hint = f"these may be set: {', '.join(sorted(_HEADERS))}"
        raise UsageError("usage", f"header `{name.strip()[:60]}` is not a command's to set", hint=hint)
    return name.strip(), value.strip()


async def _request(  # noqa: PLR0913 - the parts of a request
    surroundings: Surroundings,
    method: str,
    url: str,
    header: tuple[str, ...],
    *,
    raw: bool,
    kind: str = "",
) -> Outcome:
    headers = _headers(header)
    body = surroundings.body or b""
    if body and not any(name.lower() == "content-type" for name, _ in headers):
        headers = (*headers, ("content-type", kind))
    response = await _response(
        surroundings, method, url, headers, body=body, most_bytes=_BODY_BYTES, render=not raw
    )
    return _outcome(method, response)


async def _response(  # noqa: PLR0913 - the parts of a request
    surroundings: Surroundings,
    method: str,
    url: str,
    headers: Headers,
    *,
    body: bytes = b"",
    most_bytes: int,
    render: bool = False,
) -> Response:
    if surroundings.egress is None:
        raise ActionError(
            "capability", "this session has no way out", hint="the policy's grant has no `network`"
        )
    try:
        return await surroundings.egress.request(
            method,
            url,
            headers=headers,
            body=body,
            body_bytes=most_bytes,
            render=render,
            action=surroundings.action,
        )
    except (EgressDeniedError, UpstreamError) as error:
        raise ActionError(error.code, error.message, hint=error.hint) from error
    except GateLostError as error:
        if error.__cause__ is not None:  # the ledger failed, and with it the session
            raise
        raise ActionError("upstream", error.message) from error


def _outcome(method: str, response: Response) -> Outcome:
    lines = [f"HTTP {response.status} {response.reason}".rstrip()]
    lines += [f"{name}: {value}" for name, value in response.headers if name in _SHOWN]
    head = "\n".join(lines).encode("utf-8", "replace") + b"\n"
    notes = []
    if response.truncated:
        notes.append(f"the body goes on; its first {_BODY_BYTES} bytes were read")
    if 300 <= response.status < 400 and response.header("location"):
        notes.append("a redirect is not followed; ask for the location if the policy allows it")
    body = b"" if method == "HEAD" else b"\n" + _text(response)
    return Outcome(exit_code=0 if response.status < 400 else 1, output=head + body, note="; ".join(notes))


def _text(response: Response) -> bytes:
    if b"\0" in response.body[:4096]:
        return f"({len(response.body)} bytes that are not text)\n".encode()
    return response.body


@command(
    "http get",
    needs=_NEEDS,
    runs="egress",
    parameters=_parameters("GET", body=False),
    sinks={"url": "url"},
    examples=("http get https://api.example.com/items", "http get --raw https://example.com/"),
)
async def get(surroundings: Surroundings, *, url: str, header: tuple[str, ...], raw: bool) -> Outcome:
    """Get a URL: status, selected headers, body as text; HTML made readable, redirects not followed."""
    return await _request(surroundings, "GET", url, header, raw=raw)


@command(
    "http head",
    needs=_NEEDS,
    runs="egress",
    parameters=_parameters("HEAD", body=False),
    sinks={"url": "url"},
    examples=("http head https://api.example.com/items",),
)
async def head(surroundings: Surroundings, *, url: str, header: tuple[str, ...], raw: bool) -> Outcome:
    """Ask for a URL's status and headers, without its body."""
    return await _request(surroundings, "HEAD", url, header, raw=raw)


@command(
    "http post",
    needs=_NEEDS,
    runs="egress",
    parameters=_parameters("POST", body=True),
    sinks={"url": "url"},
    examples=('http post https://api.example.com/items --content \'{"name": "x"}\'',),
)
async def post(
    surroundings: Surroundings, *, url: str, header: tuple[str, ...], raw: bool, kind: str
) -> Outcome:
    """Post a body to a URL; the policy has to name the method."""
    return await _request(surroundings, "POST", url, header, raw=raw, kind=kind)


@command(
    "http put",
    needs=_NEEDS,
    runs="egress",
    parameters=_parameters("PUT", body=True),
    sinks={"url": "url"},
    examples=("http put https://api.example.com/items/1 --content '{}'",),
)
async def put(
    surroundings: Surroundings, *, url: str, header: tuple[str, ...], raw: bool, kind: str
) -> Outcome:
    """Put a body at a URL; the policy has to name the method."""
    return await _request(surroundings, "PUT", url, header, raw=raw, kind=kind)


@command(
    "http delete",
    needs=_NEEDS,
    runs="egress",
    parameters=_parameters("DELETE", body=False),
    sinks={"url": "url"},
    examples=("http delete https://api.example.com/items/1",),
)
async def delete(surroundings: Surroundings, *, url: str, header: tuple[str, ...], raw: bool) -> Outcome:
    """Delete what is at a URL; the policy has to name the method."""
    return await _request(surroundings, "DELETE", url, header, raw=raw)


@command(
    "http download",
    needs=(Capability.FILES, Capability.NETWORK),
    runs="egress",
    parameters=(
        click.Option(["--header"], multiple=True, help="A header, as `Accept: text/plain`; may be repeated."),
        click.Argument(["url"], type=Url("GET")),
        click.Argument(["path"], type=WorkspacePath("write")),
    ),
    sinks={"url": "url"},
    examples=("http download https://example.com/data.csv data/data.csv",),
)
async def download(surroundings: Surroundings, *, header: tuple[str, ...], url: str, path: str) -> Outcome:
    """Get a URL and save its body, byte for byte, as a file of the workspace; folders are made as needed."""
    response = await _response(surroundings, "GET", url, _headers(header), most_bytes=LARGEST_BODY_BYTES)
    if response.status != _OK or response.truncated:
        return _not_saved(response)
    reply = await surroundings.sandbox.call(
        "files.write", {**answer.named(path), "create_parents": True}, body=response.body
    )
    kind = field(response.header("content-type")) or "of no stated type"
    text = f"saved {field(path)}, {len(response.body)} bytes, {kind}\n"
    return Outcome(exit_code=0, text=text, files=(answer.written(path, reply.result),))


def _not_saved(response: Response) -> Outcome:
    """Say why nothing was written: half a file, or a server's error page, would be taken for the file."""
    if response.truncated:
        raise ActionError("too-large", f"the body has more than {LARGEST_BODY_BYTES} bytes; nothing is saved")
    note = f"nothing was saved: the answer was {response.status}, expected {_OK}"
    location = response.header("location")
    moved = f"location: {field(location)}\n" if location else ""
    head = f"HTTP {response.status} {field(response.reason)}".rstrip()
    return Outcome(exit_code=1, text=f"{head}\n{moved}", note=note)


COMMANDS: Final[tuple[Command, ...]] = (get, head, post, put, delete, download)
