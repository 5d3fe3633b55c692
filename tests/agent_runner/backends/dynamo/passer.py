"""Stand between a backend and Dynamo: pass everything on, and add what only a test may ask for.

Which reply the simulated engine says (`output_replay_id`) and which worker said it (`worker_id`) are fields
that pairlock never sends.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_WORKER = re.compile(rb'"decode_worker_id":(\d+)')


@dataclass
class Passer:
    """What passed."""

    to_port: int
    port: int = 0
    replies: list[str] = field(default_factory=list)
    """Names of scripted replies, one for each question; when none is left, the engine says random words."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Each question as it came, before anything was added."""
    sessions: list[str] = field(default_factory=list)
    """The header that keeps a session with its worker, of each question."""
    workers: list[str] = field(default_factory=list)
    """Which worker answered each question."""

    @property
    def url(self) -> str:
        """Return what a backend is told."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one request and its answer."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")[:-2]
            named = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
            }
            body = await reader.readexactly(int(named.get("content-length", "0")))
            if body:
                body = self._with_more(json.loads(body), named)
            kept = [line for line in lines if not line.lower().startswith(("content-length:", "connection:"))]
            kept += [f"content-length: {len(body)}", "connection: close", "", ""]
            await self._pass("\r\n".join(kept).encode() + body, writer, counted=bool(body))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _with_more(self, question: dict[str, Any], named: dict[str, str]) -> bytes:
        self.asked.append(json.loads(json.dumps(question)))
        self.sessions.append(named.get("x-dynamo-session-id", ""))
        beside = question.setdefault("nvext", {})
        beside["extra_fields"] = [*beside.get("extra_fields", []), "worker_id"]
        if self.replies:
            beside["annotations"] = [f"output_replay_id:{self.replies.pop(0)}"]
        return json.dumps(question).encode()

    async def _pass(self, request: bytes, back: asyncio.StreamWriter, *, counted: bool) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.to_port)
        said = b""
        try:
            writer.write(request)
            while data := await reader.read(65536):
                said += data
                back.write(data)
                await back.drain()
        finally:
            writer.close()
            if counted:
                found = _WORKER.search(said)
                self.workers.append(found[1].decode() if found else "")


@asynccontextmanager
async def passing(to_port: int, *replies: str) -> AsyncIterator[Passer]:
    """Run a passer."""
    passer = Passer(to_port, replies=list(replies))
    listener = await asyncio.start_server(passer.serve, "127.0.0.1", 0, limit=2**24)
    passer.port = listener.sockets[0].getsockname()[1]
    try:
        yield passer
    finally:
        listener.close()
