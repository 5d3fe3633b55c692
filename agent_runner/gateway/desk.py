"""Answer what agents ask of the model APIs on their loopback: which path, which model, and how it is told."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from agent_runner.backends.estimate import estimated
from agent_runner.backends.reply_format import described_to_model
from agent_runner.gateway.asked import Asked, RefusedRequestError, capability, too_large
from agent_runner.gateway.chat_api import ChatApi
from agent_runner.gateway.http import HttpAnswer, HttpRequest
from agent_runner.gateway.inbox import Inbox
from agent_runner.gateway.messages_api import MessagesApi
from agent_runner.gateway.responses_api import ResponsesApi
from cli_tools.strict_json import read_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from agent_runner.backends.aloud import Step
    from agent_runner.backends.backend import Reply
    from agent_runner.gateway.api import Api, Events

PING_SECONDS: Final = 10.0
"""How long a stream may be silent: what an agent's client waits for a byte is not known here."""
_LONGEST_REST_SECONDS: Final = 1.0
_JSON: Final = "application/json"
MOST_MARKS: Final = 200_000
"""Commas, colons and brackets of a body outside its texts: each value of JSON becomes an object of ours."""
_POSTS: Final[Mapping[str, Api]] = {
    "/v1/chat/completions": ChatApi(),
    "/v1/responses": ResponsesApi(),
    "/v1/messages": MessagesApi(),
}
_COUNT: Final = "/v1/messages/count_tokens"
_BETA_HEADERS: Final = ("anthropic-beta", "openai-beta")


class Asker(Protocol):
    """Asks a model."""

    async def ask(self, asked: Asked, hear: Callable[[Step], None]) -> Reply:
        """Return its reply; where a stream is asked for, each of its steps was heard by then.

        Raises:
            RefusedRequestError: When it gave none.
        """
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """Answers; `http.Answerer`.

    Args:
        models: Their names; no other is answered.
        asker: Asks them.
    """

    models: tuple[str, ...]
    asker: Asker
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Return the answer to one request; whatever goes wrong is one, too."""
        path, _, query = request.target.partition("?")
        api = _POSTS.get(path.removesuffix("/count_tokens"), _POSTS["/v1/chat/completions"])
        try:
            return await self._answered(request, path, query)
        except RefusedRequestError as error:
            return _json(error.status, api.error(error), retried=False)

    async def _answered(self, request: HttpRequest, path: str, query: str) -> HttpAnswer:
        if request.method == "GET" and (path == "/v1/models" or path.startswith("/v1/models/")):
            # Pages, which Anthropic's SDK asks for by a query, are of no use here: there are two models.
            return self._listed(path.removeprefix("/v1/models").removeprefix("/"))
        api = _POSTS.get(path)
        if request.method != "POST" or (api is None and path != _COUNT):
            raise RefusedRequestError(
                f"`{request.method} {path[:80]}` is not answered here: POST {', '.join(_POSTS)} are",
                status=404,
                code="not_found",
            )
        if beta := next((name for name in _BETA_HEADERS if request.headers.get(name)), None):
            raise capability(f"the header `{beta}`")
        if query not in {"", "beta=true"}:
            raise capability(f"the query `{query[:80]}`")
        asked = await self._read(api or _POSTS["/v1/messages"], request.body)
        self._require_known(asked.model)
        if api is None:
            return _json(
                200, {"input_tokens": estimated(asked.messages, described_to_model(asked.tools, asked.form))}
            )
        if not asked.stream:
            reply = await self.asker.ask(asked, _unheard)
            return _json(200, api.whole(asked, reply, secrets.token_hex(12)))
        return await self._streamed(api, asked)

    async def _read(self, api: Api, body: bytes) -> Asked:
        """Read one body at a time, and rest as long as it took: what is refused or counted costs no turn."""
        async with self._reading:
            start = time.monotonic()
            try:
                return api.read(_parsed(body))
            finally:
                await asyncio.sleep(min(time.monotonic() - start, _LONGEST_REST_SECONDS))

    def _require_known(self, name: str) -> None:
        if name not in self.models:
            raise RefusedRequestError(
                f"model `{name[:80]}` is not one of this session's: {', '.join(self.models)}",
                status=404,
                code="model_not_found",
            )

    def _listed(self, name: str) -> HttpAnswer:
        if name:
            self._require_known(name)
            return _json(200, _model(name))
        listed = [_model(each) for each in self.models]
        ends = {"first_id": listed[0]["id"], "last_id": listed[-1]["id"], "has_more": False}
        return _json(200, {"object": "list", "data": listed, **ends})

    async def _streamed(self, api: Api, asked: Asked) -> HttpAnswer:
        """Return a stream; a failure that comes soon, and first, is still told by its status."""
        inbox = Inbox()
        asking = asyncio.create_task(self.asker.ask(asked, inbox.put))
        asking.add_done_callback(_taken)
        asking.add_done_callback(lambda _: inbox.wake())
        try:
            await inbox.filled(PING_SECONDS)
        except asyncio.CancelledError:
            await _cancelled(asking)
            raise
        if asking.done() and inbox.is_empty:
            asking.result()
        return HttpAnswer(
            status=200,
            content_type="text/event-stream",
            body=_told(api.events(asked, secrets.token_hex(12)), inbox, asking),
            headers=(("cache-control", "no-cache"),),
            close=partial(_cancelled, asking),
        )


async def _told(events: Events, inbox: Inbox, asking: asyncio.Task[Reply]) -> AsyncGenerator[bytes, None]:
    """Yield each step as it comes, a comment where none does for long, and the end."""
    while not (is_last := asking.done()) or not inbox.is_empty:
        for step in inbox.taken():
            for piece in events.step(step):
                yield piece
        if not is_last and not await inbox.filled(PING_SECONDS):
            yield b": the model is asked\n\n"
    try:
        reply = asking.result()
    except RefusedRequestError as error:
        yield events.broken(error)
        return
    for piece in events.end(reply):
        yield piece


def _unheard(_: Step) -> None:
    pass


def _taken(done: asyncio.Task[Reply]) -> None:
    """Take the exception of a question whose answer nobody may read any more, so that none is printed."""
    if not done.cancelled():
        done.exception()


async def _cancelled(asking: asyncio.Task[Reply]) -> None:
    if not asking.done():
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait({asking})


def _parsed(body: bytes) -> object:
    _require_small(body)
    try:
        return read_json(body.decode())
    except ValueError as error:
        raise RefusedRequestError(f"the body is no JSON: {str(error)[:120]}") from error


def _require_small(body: bytes) -> None:
    """Refuse a body of too many values before any is made: 8 MiB of `[],` would be 300 MB, and seconds.

    `_parsed` reads UTF-8 and nothing else, as this does. Quotes that are left once those inside of texts are
    gone begin and end a text.
    """
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    many = bare.count(b'"') > 2 * MOST_MARKS
    if not many:
        outside = b"".join(bare.split(b'"')[::2])
        many = sum(map(outside.count, (b",", b":", b"[", b"{"))) > MOST_MARKS
    if many:
        raise too_large(f"the body holds more than {MOST_MARKS} values")


def _model(name: str) -> dict[str, object]:
    """Return a model as both APIs list one."""
    openai = {"id": name, "object": "model", "created": 0, "owned_by": "pairlock"}
    return {**openai, "type": "model", "display_name": name, "created_at": "1970-01-01T00:00:00Z"}


def _json(status: int, value: object, *, retried: bool = True) -> HttpAnswer:
    # Both SDKs read this header; a refusal stays one however often it is asked for.
    headers = () if retried else (("x-should-retry", "false"),)
    return HttpAnswer(status=status, content_type=_JSON, body=json.dumps(value).encode(), headers=headers)
