"""The backend `openai`: chat completions, which most model servers speak, through OpenAI's own SDK."""

from __future__ import annotations

import re
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from agent_runner.backends.aloud import Aloud
from agent_runner.backends.chat_wire import (
    ChatReader,
    Wire,
    wire_choice,
    wire_format,
    wire_message,
    wire_tool,
)
from agent_runner.backends.demands import Demands
from agent_runner.backends.estimate import estimated
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.reading import Stream, whole
from agent_runner.backends.reply_format import described_to_model
from agent_runner.backends.retry import Patience
from agent_runner.backends.sdk import sdk_imported
from agent_runner.backends.talk import Talk
from agent_runner.backends.wired import Wired
from agent_runner.backends.wording import known_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from openai import AsyncOpenAI

    from agent_runner.backends.aloud import Tell
    from agent_runner.backends.backend import Message, Reply, Usage
    from agent_runner.backends.choice import Choice
    from agent_runner.backends.reply_format import ReplyFormat
    from agent_runner.backends.server import Server
    from cli_tools.schema import Tool

_OPENAI: Final = re.compile(r"https://(?:[^/]*\.)?(?:api\.openai\.com|openai\.azure\.com)[:/]")
"""OpenAI's own servers, those of its regions (`eu.api.openai.com`) and Azure's."""


class OpenAIBackend:
    """Ask a server that speaks chat completions.

    Args:
        server: Whom to ask.
        name: How the ledger calls the model.
        patience: How often to try.
    """

    def __init__(self, server: Server, *, name: str, patience: Patience | None = None) -> None:
        self._name = name
        self.talk = Talk(server, "chat", patience or Patience())
        self._made: AsyncOpenAI | None = None
        self._by = server.author
        self._wired = Wired(wire_message)
        self._demands = Demands()
        self._choice: Choice | None = None
        self._form: ReplyFormat | None = None

    @property
    def kind(self) -> str:
        """Return `openai`."""
        return "openai"

    @property
    def model(self) -> str:
        """Return the configured name and what the server calls the model."""
        return f"{self._name} ({self.talk.server.model})"

    def choosing(self, choice: Choice) -> OpenAIBackend:
        """Return the same backend, whose replies call a tool; `choice.ChoosingBackend`."""
        other = copy(self)
        other._choice = choice  # noqa: SLF001 - a backend of this very class
        return other

    def formatting(self, form: ReplyFormat) -> OpenAIBackend:
        """Return the same backend, whose replies are JSON; `reply_format.FormattingBackend`."""
        other = copy(self)
        other._form = form  # noqa: SLF001 - a backend of this very class
        return other

    def priced(self, usage: Usage) -> Usage:
        """Return a usage with its cost, by the operator's price."""
        return self.talk.priced(usage)

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """Return the model's next words.

        Raises:
            agent_runner.backends.failure.ModelServerError: When no reply could be had.
        """
        return await self.ask_aloud(messages, tools, None)

    async def ask_aloud(self, messages: Sequence[Message], tools: Sequence[Tool], tell: Tell | None) -> Reply:
        """Return the model's next words, and tell them as they come; `aloud.AloudBackend`.

        Raises:
            agent_runner.backends.failure.ModelServerError: When no whole reply could be had.
        """
        wanted = replace(self._demands)
        while True:
            try:
                reply = await self._asked(wanted, messages, tools, tell)
            except ModelServerError as error:
                if error.failure.told or not wanted.learn(error.failure):
                    raise
                self.talk.notice(f"{error.message}; asking again with what it wants")
            else:
                self._demands.keep(wanted)
                return reply

    async def _asked(
        self, wanted: Demands, messages: Sequence[Message], tools: Sequence[Tool], tell: Tell | None
    ) -> Reply:
        sent = wanted.met(messages, self._wired.of(messages), by=self._by)
        request = chat_request(self.talk.server, sent, tools)
        if tools and self._choice is not None:
            request["tool_choice"] = wire_choice(self._choice)
        if self._form is not None:
            request["response_format"] = wire_format(self._form)
        described = described_to_model(tools, self._form)
        taken = known_ids(messages)
        aloud = Aloud(taken, tell)
        sdk = await self._sdk()  # outside of an attempt's time: the first import may take seconds

        async def attempt() -> Reply:
            reader = ChatReader()
            answer = await sdk.chat.completions.create(**_unwalked(request))
            if request["stream"]:
                await self.talk.read(cast("Stream", answer), reader, aloud)
            else:
                whole(reader, answer)
            reply = reader.pieces.reply(taken, sent_tokens=lambda: estimated(messages, described))
            return replace(reply, reasoning_by=self._by)

        return await self.talk.replied(attempt, aloud)

    async def list_models(self) -> list[Mapping[str, object]]:
        """Return what the server says of its models."""
        sdk = await self._sdk()
        return await self.talk.listed(sdk.models.list)

    async def close(self) -> None:
        """Give back connections."""
        self._made = None
        await self.talk.close()

    async def _sdk(self) -> AsyncOpenAI:
        # Everything that the SDK would read from the environment is given; the door shows the key.
        if self._made is None:
            await sdk_imported("openai", "openai.resources.chat.completions")
            from openai import AsyncOpenAI  # noqa: PLC0415 - it waits until a model is asked

            self._made = AsyncOpenAI(
                api_key="the door holds it",
                admin_api_key="",
                organization="",
                project="",
                webhook_secret="",
                base_url=self.talk.server.base_url,
                max_retries=0,
                timeout=None,
                http_client=await self.talk.client(),
            )
        return self._made


def _unwalked(request: Wire) -> dict[str, Any]:
    """Return a request as the SDK sends it without a walk through the conversation.

    What it is given as a parameter it looks at member by member, half a second for 1,000 messages; what
    stands in `extra_body` replaces that, as it is. The door looks at what comes out of it.
    """
    return {"model": request["model"], "stream": request["stream"], "messages": [], "extra_body": request}


def chat_request(server: Server, messages: Sequence[Wire], tools: Sequence[Tool]) -> Wire:
    """Return the request's body; pure, so that the same conversation is the same bytes.

    Args:
        server: Whom it is for.
        messages: The conversation, each as `chat_wire.wire_message` makes it.
        tools: What the model may call.
    """
    request: Wire = {
        "model": server.model,
        "messages": list(messages),
        "stream": server.stream,
    }
    if tools:
        request["tools"] = [wire_tool(tool) for tool in tools]
        if not server.parallel_calls:
            request["parallel_tool_calls"] = False
    if server.stream:
        request["stream_options"] = {"include_usage": True}
    if server.output_tokens is not None:
        # OpenAI's reasoning models refuse the older name, and some other servers do not know the newer one.
        newer = _OPENAI.match(f"{server.base_url}/")
        request["max_completion_tokens" if newer else "max_tokens"] = server.output_tokens
    if server.seed is not None:
        request["seed"] = server.seed
    if server.dynamo is not None:
        request["nvext"] = server.dynamo.beside()
    return request
