"""Talk to one model's server through its official SDK: attempts within their time, again where it helps."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from agent_runner.backends.dynamo import is_of_its_worker, ready_path, require_ready
from agent_runner.backends.failure import Failure, ModelServerError, one_line
from agent_runner.backends.key import Key, fetch_key
from agent_runner.backends.mishap import from_chain
from agent_runner.backends.reading import json_object, plain, whole
from agent_runner.backends.retry import Patience, with_retries
from agent_runner.backends.wire import Door, client_through

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import httpx2

    from agent_runner.backends.aloud import Aloud
    from agent_runner.backends.backend import Reply, Usage
    from agent_runner.backends.closed import Api
    from agent_runner.backends.pieces import Pieces
    from agent_runner.backends.reading import Page, Reader, Stream
    from agent_runner.backends.server import Server

T = TypeVar("T")


class Talk:
    """Hold the connection to a server, its key and its patience.

    Args:
        server: Whom to ask.
        api: Which API it speaks.
        patience: How often to try.
    """

    def __init__(self, server: Server, api: Api, patience: Patience) -> None:
        self.server = server
        self._api: Api = api
        self._patience = patience
        self._key: Key | None = None
        self._client: httpx2.AsyncClient | None = None
        self._session = secrets.token_hex(16) if server.dynamo is not None else ""

    async def client(self) -> httpx2.AsyncClient:
        """Return the client, which is made, and its key fetched, when it is first wanted."""
        if self._client is None:
            server = self.server
            if server.key is not None:
                self._key = await fetch_key(server.key)
            door = Door(
                server.base_url,
                self._api,
                self._key,
                silence_seconds=server.silence_seconds,
                proxy=server.proxy,
                session=lambda: self._session,
                ready_path=ready_path(server.model) if server.dynamo is not None else "",
            )
            self._client = client_through(door)
        return self._client

    def notice(self, words: str) -> None:
        """Tell whoever waits, in one line, why it takes longer."""
        self._patience.notice(words)

    async def require_ready(self) -> None:
        """Return when Dynamo's model is ready, and at once for a server that is none.

        Its frontend answers 404 while no worker is there, as it does for a model that will never be.

        Raises:
            ModelServerError: When it is not.
        """
        if self.server.dynamo is None:
            return
        client = await self.client()
        answer = await client.get(self.server.base_url + ready_path(self.server.model))
        require_ready(self.server.where, answer.status_code, _json_or_text(answer.content))

    async def replied(self, attempt: Callable[[], Awaitable[Reply]], aloud: Aloud) -> Reply:
        """Return the reply that an attempt returns, and what it cost with those that broke off; as `tried`.

        Each attempt waits until Dynamo's model is ready. One of which something was told is the last: nobody
        can take back what was told.
        """
        asked = False

        async def question() -> Reply:
            nonlocal asked
            asked = False
            await self.require_ready()
            asked = True
            return await attempt()

        reply = await self.tried(question, told=lambda: aloud.begun, asked=lambda: asked)
        spent, in_vain = reply.usage, aloud.in_vain_tokens
        said, guessed = spent.output_tokens + in_vain, spent.estimated or in_vain > 0
        reply = replace(reply, usage=replace(spent, output_tokens=said, estimated=guessed))
        price = self.server.price
        return reply if price is None else price.counted(reply)

    def priced(self, usage: Usage) -> Usage:
        """Return a usage with its cost; as it is where the operator names no price."""
        price = self.server.price
        return usage if price is None else price.priced(usage)

    async def listed(self, ask: Callable[[], Awaitable[Page]]) -> list[Mapping[str, object]]:
        """Return what the server says of its models."""

        async def attempt() -> list[Mapping[str, object]]:
            return [plain(model) for model in (await ask()).data or []]

        return await self.tried(attempt)

    async def tried(
        self,
        attempt: Callable[[], Awaitable[T]],
        *,
        told: Callable[[], bool] = bool,
        asked: Callable[[], bool] = bool,
    ) -> T:
        """Return what an attempt returns; each has its time, and all that goes wrong has one kind of error.

        Args:
            attempt: Asks once.
            told: Says whether something of a reply was told, so that this was the last attempt.
            asked: Says whether a worker was asked, so that it may be gone where the attempt failed.

        Raises:
            ModelServerError: When no attempt gave a reply.
        """
        return await with_retries(lambda: self._once(attempt, told, asked), self._patience)

    async def _once(
        self, attempt: Callable[[], Awaitable[T]], told: Callable[[], bool], asked: Callable[[], bool]
    ) -> T:
        try:
            async with asyncio.timeout(self.server.timeout_seconds) as deadline:
                return await attempt()
        except Exception as error:
            late = isinstance(error, TimeoutError) and deadline.expired()
            named = self._late(told=told()) if late else self._named(error, told=told())
            if self._session and asked() and is_of_its_worker(named.failure):
                self._session = secrets.token_hex(16)
            raise named from error

    def _late(self, *, told: bool) -> ModelServerError:
        server = self.server
        message = f"{server.where} did not finish its reply within {server.timeout_seconds:g} s"
        hint = "see `timeout` of this model in the configuration"
        return ModelServerError(message, failure=Failure(kind="timeout", told=told), hint=hint)

    def _named(self, error: Exception, *, told: bool) -> ModelServerError:
        found = from_chain(error, self.server)
        hidden = self._key.hidden_from if self._key else str
        failure = replace(found.failure, told=told)
        hint = self._path_hint() if failure.status == 404 else ""
        return ModelServerError(hidden(found.message), failure=failure, hint=hint or found.hint)

    def _path_hint(self) -> str:
        """Return which `base_url` may be meant where nothing is found at one that looks unlike its API's."""
        url, path = self.server.base_url, urlsplit(self.server.base_url).path
        whole = next((end for end in ("/chat/completions", "/messages") if path.endswith(end)), "")
        if whole:
            meant = url.removesuffix(whole)
        elif self._api == "chat" and not path:
            meant = f"{url}/v1"
        elif self._api == "messages" and path.endswith("/v1"):
            meant = url
        else:
            return ""
        meant = meant.removesuffix("/v1") if self._api == "messages" else meant
        return f"is its `base_url` `{meant}`? see this model in the configuration"

    async def read(self, stream: Stream, reader: Reader, aloud: Aloud) -> None:
        """Read a reply to its end or to a bound; the connection is closed in each case.

        INVARIANT: however this ends, by cancellation too, the stream is closed, so that the server stops.
        """
        try:
            await self._read(stream, reader, aloud)
        except BaseException:
            aloud.in_vain_tokens += reader.pieces.said_tokens
            raise

    async def _read(self, stream: Stream, reader: Reader, aloud: Aloud) -> None:
        kind = stream.response.headers.get("content-type", "").lower()
        try:
            if "application/json" in kind:
                # Asked for a stream, the server gave the whole reply at once.
                whole(reader, json_object(await stream.response.aread()))
                return
            async for chunk in stream:
                reader.take(plain(chunk))
                reader.pieces.look_for_first()
                await aloud.more(reader.pieces)
                if reader.pieces.is_full:
                    return
        except Exception as error:
            self._require_unbegun(error, reader.pieces)
            raise
        finally:
            await stream.close()
        if not reader.pieces.ended:
            raise self._without_end(reader.pieces, kind)

    def _require_unbegun(self, error: Exception, pieces: Pieces) -> None:
        """Name an overload behind words a breach: they may be paid for, and so may those of each try."""
        found = from_chain(error, self.server)
        if found.failure.kind == "overloaded" and not pieces.is_empty:
            failure = replace(found.failure, kind="broken")
            raise ModelServerError(found.message, failure=failure, hint=found.hint) from error

    def _without_end(self, pieces: Pieces, kind: str) -> ModelServerError:
        failure = Failure(kind="broken")
        if not pieces.is_empty:
            member = "finish_reason" if self._api == "chat" else "stop_reason"
            said = f"broke off its reply, or never said why it ended (`{member}`)"
            return ModelServerError(f"{self.server.where} {said}", failure=failure)
        if "event-stream" in kind:
            return ModelServerError(f"{self.server.where} broke off its reply", failure=failure)
        hint = "is that the model's server? see `base_url` of this model in the configuration"
        said = f"`{one_line(kind)}`" if kind else "nothing"
        return ModelServerError(
            f"{self.server.where} answered with {said}, which is no reply", failure=failure, hint=hint
        )

    async def close(self) -> None:
        """Give back the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def _json_or_text(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw
