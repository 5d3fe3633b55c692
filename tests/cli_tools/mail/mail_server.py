"""Answer as Microsoft Graph does for one mailbox: https://learn.microsoft.com/graph/api/resources/message."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from aiohttp import web

from tests.cli_tools.answering import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.cli_tools.answering import Request

ROOT = "/v1.0/me"


def person(address: str, name: str = "") -> dict[str, Any]:
    """Return somebody as Graph names people."""
    return {"emailAddress": {"address": address, "name": name or address}}


def mail(number: int, **more: object) -> dict[str, Any]:
    """Return a message."""
    return {
        "id": f"AAMk{number:04}=",
        "subject": f"subject {number}",
        "from": person("anna@example.com", "Anna"),
        "toRecipients": [person("me@example.com")],
        "receivedDateTime": f"2026-05-{number % 28 + 1:02}T08:00:00Z",
        "isRead": True,
        "hasAttachments": False,
        "body": {"contentType": "text", "content": f"text {number}"},
        **more,
    }


@dataclass
class Graph:
    """One mailbox."""

    port: int = 0
    messages: list[dict[str, Any]] = field(default_factory=lambda: [mail(n) for n in range(1, 4)])
    attachments: dict[str, bytes] = field(default_factory=dict)
    drafts: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)
    moved: list[tuple[str, str]] = field(default_factory=list)
    limited: list[tuple[int, str]] = field(default_factory=list)
    """Statuses and `Retry-After` values that are still to be given."""
    next_link: str = ""
    """Where the next page is said to be, in place of the right one."""
    next_path: str = ""
    """How the path of the next page is written, in place of how it was asked for."""
    draft_id: object = "DRAFT2="
    stubborn: bool = False
    """Whether it keeps the recipients of a draft, whatever it is told."""

    def __call__(self, request: Request) -> web.Response:
        """Answer."""
        if self.limited:
            status, wait = self.limited.pop(0)
            return _refused(status, "TooManyRequests", headers={"Retry-After": wait})
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _refused(401, "InvalidAuthenticationToken")
        path = request.path.removeprefix(ROOT).strip("/")
        for pattern, act in self._routes():
            if found := re.fullmatch(pattern, f"{request.method} {path}"):
                return act(request, *found.groups())
        return _refused(404, "ErrorItemNotFound")

    def _routes(self) -> Iterable[tuple[str, Any]]:
        return (
            (r"GET mailFolders", self._folders),
            (r"GET mailFolders/([^/]+)/messages", self._in_folder),
            (r"GET messages", self._search),
            (r"GET messages/([^/]+)", self._one),
            (r"GET messages/([^/]+)/attachments", self._attached),
            (r"GET messages/([^/]+)/attachments/([^/]+)/\$value", self._value),
            (r"POST sendMail", self._send),
            (r"POST messages", self._draft),
            (r"POST messages/([^/]+)/createReply", self._reply),
            (r"PATCH messages/([^/]+)", self._patch),
            (r"POST messages/([^/]+)/send", self._send_draft),
            (r"POST messages/([^/]+)/move", self._move),
        )

    def _page(self, request: Request, found: list[dict[str, Any]]) -> web.Response:
        start, size = int(request.query.get("$skip", 0)), int(request.query["$top"])
        answer: dict[str, Any] = {"value": found[start : start + size]}
        if start + size < len(found):
            given = urlencode({**request.query, "$skip": str(start + size)}, quote_via=quote)
            more = f"https://127.0.0.1:{self.port}{self.next_path or request.path}?{given}"
            answer["@odata.nextLink"] = self.next_link or more
        return web.json_response(answer)

    def _folders(self, request: Request) -> web.Response:
        folders = [
            {"id": f"FOLDER{n:020}=", "displayName": name}
            for n, name in enumerate(["Work", "Twice", "Twice"])
        ]
        return self._page(request, folders)

    def _in_folder(self, request: Request, folder: str) -> web.Response:
        found = [m for m in self.messages if m.get("folder", "inbox") == folder]
        if "isRead eq false" in request.query.get("$filter", ""):
            found = [m for m in found if not m["isRead"]]
        return self._page(request, found)

    def _search(self, request: Request) -> web.Response:
        words = request.query["$search"].strip('"')
        return self._page(request, [m for m in self.messages if words in m["subject"]])

    def _find(self, number: str) -> dict[str, Any] | None:
        return next((m for m in self.messages if m["id"] == number), None)

    def _one(self, request: Request, number: str) -> web.Response:
        assert request.headers["prefer"] == 'outlook.body-content-type="text"'
        found = self._find(number) or self.drafts.get(number)
        if found is not None and found["body"].get("contentType") == "html":
            text = re.sub("<[^>]*>", "", found["body"]["content"])
            found = {**found, "body": {"contentType": "text", "content": text}}
        return web.json_response(found) if found else _refused(404, "ErrorItemNotFound")

    def _attached(self, request: Request, _: str) -> web.Response:
        listed = [
            {"id": number, "name": "a.bin", "contentType": "application/pdf", "size": len(content)}
            for number, content in self.attachments.items()
        ]
        return self._page(request, listed)

    def _value(self, _: Request, __: str, number: str) -> web.Response:
        return web.Response(body=self.attachments[number], content_type="application/octet-stream")

    def _send(self, request: Request) -> web.Response:
        self.sent.append(request.body["message"])
        return web.Response(status=202)

    def _draft(self, request: Request) -> web.Response:
        self.drafts["DRAFT1="] = request.body
        return web.json_response({"id": "DRAFT1=", **request.body}, status=201)

    def _reply(self, request: Request, number: str) -> web.Response:
        """Draft a reply in HTML, as Graph does whatever the message is: a comment stands in it as it came."""
        original = self._find(number)
        if original is None:
            return _refused(404, "ErrorItemNotFound")
        people = original.get("replyTo") or [original["from"]]
        made = {
            "id": self.draft_id,
            "toRecipients": people,
            "ccRecipients": original.get("ccRecipients", []),
            "body": {
                "contentType": "html",
                "content": f"<p>{request.body.get('comment', '')}</p>> {original['body']['content']}",
            },
        }
        self.drafts[str(self.draft_id)] = made
        return web.json_response(made, status=201)

    def _patch(self, request: Request, number: str) -> web.Response:
        if not self.stubborn:
            self.drafts[number].update(request.body)
        return web.json_response(self.drafts[number])

    def _send_draft(self, _: Request, number: str) -> web.Response:
        self.sent.append(self.drafts.pop(number))
        return web.Response(status=202)

    def _move(self, request: Request, number: str) -> web.Response:
        self.moved.append((number, request.body["destinationId"]))
        return web.json_response({"id": "AAMkMOVED="}, status=201)


def _refused(status: int, code: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"error": {"code": code, "message": "the server's own words"}}
    return web.json_response(body, status=status, headers=headers)
