"""Serve a repository over real TLS on loopback, through git's own program for it."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from tests.sandbox.egress.ground import Authority

GIT = shutil.which("git") or "git"


@dataclass
class GitServer:
    """A server, and what it was asked."""

    port: int = 0
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    """Path and headers of each request."""
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/repository/.git") -> str:
        """Return the address of a repository."""
        return f"https://localhost:{self.port}{path}"


@asynccontextmanager
async def serving_git(
    authority: Authority,
    root: Path,
    *,
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None,
) -> AsyncIterator[GitServer]:
    """Serve the repositories below a folder, or whatever is answered in their place.

    Args:
        authority: Whose certificate it shows, for `localhost`.
        root: The folder.
        answer: Answers every request; None serves the repositories.
    """
    server = GitServer()

    async def handle(request: web.Request) -> web.StreamResponse:
        server.asked.append((request.path, dict(request.headers)))
        server.was_asked.set()
        return await (answer(request) if answer is not None else _from_git(request, root))

    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.server("localhost"))
        await site.start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        await runner.cleanup()


async def _from_git(request: web.Request, root: Path) -> web.Response:
    """Answer as git's own CGI program does."""
    body = await request.read()
    environment = {
        "PATH": "/usr/bin:/bin",
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "uploadpack.allowAnySHA1InWant",
        "GIT_CONFIG_VALUE_0": "true",
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query_string,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": "",  # aiohttp has undone it
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
    }
    program = await asyncio.create_subprocess_exec(
        GIT, "http-backend", env=environment,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told, _ = await program.communicate(body)
    head, _, content = told.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
    status = int(headers.pop("Status", "200").split()[0])
    return web.Response(status=status, headers=headers, body=content)
