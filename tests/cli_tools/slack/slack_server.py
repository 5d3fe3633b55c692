"""Answer as Slack does: https://docs.slack.dev/reference/methods, its errors and rate limits included."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.cli_tools.answering import TOKEN

if TYPE_CHECKING:
    from tests.cli_tools.answering import Request

CHANNELS = [
    {
        "id": f"C00000000{n:02}",
        "name": name,
        "num_members": n,
        "is_private": n == 2,
        "purpose": {"value": "x"},
    }
    for n, name in enumerate(["general", "random", "ci", "café", "ci-archive"])
]
CI = "C0000000002"


@dataclass
class Slack:
    """One workspace of Slack's."""

    port: int = 0
    channels: list[dict[str, Any]] = field(default_factory=lambda: list(CHANNELS))
    messages: list[dict[str, Any]] = field(default_factory=list)
    limited: list[str] = field(default_factory=list)
    """`Retry-After` values that are still to be given."""
    posted: list[dict[str, Any]] = field(default_factory=list)
    reactions: list[dict[str, str]] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    upload_url: str = ""
    """Where files go, in place of this server; empty for this server."""

    def __call__(self, request: Request) -> web.Response:
        """Answer."""
        if request.path.startswith("/upload/v1/"):
            self.uploads[request.path.rpartition("/")[2]] = request.body
            return web.Response(text=f"OK - {len(request.body)}")
        if self.limited and (wait := self.limited.pop(0)):
            return web.json_response(
                {"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": wait}
            )
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return web.json_response({"ok": False, "error": "invalid_auth"})
        given = {**request.query, **(request.body if isinstance(request.body, dict) else {})}
        method = request.path.removeprefix("/api/").replace(".", "_")
        found = getattr(self, method, None)
        answer = found(given) if found else {"ok": False, "error": "unknown_method"}
        return web.json_response(answer)

    def conversations_list(self, given: dict[str, Any]) -> dict[str, Any]:
        """Give two channels a page, whatever was asked for: `limit` is the most, not the number."""
        start = int(given.get("cursor") or 0)
        page = self.channels[start : start + 2]
        more = str(start + 2) if start + 2 < len(self.channels) else ""
        return {"ok": True, "channels": page, "response_metadata": {"next_cursor": more}}

    def conversations_history(self, given: dict[str, Any]) -> dict[str, Any]:
        """Give messages, newest first."""
        if given["channel"] not in {channel["id"] for channel in self.channels}:
            return {"ok": False, "error": "channel_not_found"}
        return self._page(self.messages, given)

    def conversations_replies(self, given: dict[str, Any]) -> dict[str, Any]:
        """Give a thread."""
        found = [m for m in self.messages if given["ts"] in (m["ts"], m.get("thread_ts"))]
        return self._page(found, given) if found else {"ok": False, "error": "thread_not_found"}

    def _page(self, found: list[dict[str, Any]], given: dict[str, Any]) -> dict[str, Any]:
        start, size = int(given.get("cursor") or 0), int(given["limit"])
        more = start + size < len(found)
        return {
            "ok": True,
            "messages": found[start : start + size],
            "has_more": more,
            "response_metadata": {"next_cursor": str(start + size) if more else ""},
        }

    def search_messages(self, given: dict[str, Any]) -> dict[str, Any]:
        """Give what holds the words."""
        found = [
            {**m, "channel": {"id": CI, "name": "ci"}} for m in self.messages if given["query"] in m["text"]
        ]
        return {
            "ok": True,
            "messages": {"total": len(found), "matches": found[: int(given["count"])]},
        }

    def chat_postMessage(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's own name
        """Take a message."""
        known = {channel["id"]: channel for channel in self.channels}
        names = {f"#{channel['name']}": channel["id"] for channel in self.channels}
        where = names.get(given["channel"], given["channel"])
        if where not in known:
            return {"ok": False, "error": "channel_not_found"}
        self.posted.append({**given, "channel": where})
        return {"ok": True, "channel": where, "ts": "1732250000.000100", "message": {"text": given["text"]}}

    def reactions_add(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take a reaction, once."""
        if given in self.reactions:
            return {"ok": False, "error": "already_reacted"}
        self.reactions.append(given)
        return {"ok": True}

    def files_getUploadURLExternal(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - as above
        """Say where a file goes."""
        url = self.upload_url or f"https://127.0.0.1:{self.port}/upload/v1/{given['filename']}"
        return {"ok": True, "upload_url": url, "file_id": "F0123456789"}

    def files_completeUploadExternal(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - as above
        """Share a file."""
        self.posted.append(given)
        return {"ok": True, "files": [{"id": "F0123456789", "title": "x"}]}
