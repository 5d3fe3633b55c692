"""The backend `anthropic`: messages, through Anthropic's own SDK."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from agent_runner.backends.aloud import Aloud
from agent_runner.backends.backend import ModelMessage
from agent_runner.backends.estimate import estimated
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.messages_wire import (
    MessagesReader,
    Wire,
    joined,
    wire_choice,
    wire_format,
    wire_message,
    wire_system,
    wire_tools,
)
from agent_runner.backends.reading import Stream, whole
from agent_runner.backends.reply_format import cannot_format, described_to_model
from agent_runner.backends.retry import Patience
from agent_runner.backends.sdk import sdk_imported
from agent_runner.backends.talk import Talk
from agent_runner.backends.wired import Wired
from agent_runner.backends.wording import known_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anthropic import AsyncAnthropic

    from agent_runner.backends.aloud import Tell
    from agent_runner.backends.backend import Message, Reply, Usage
    from agent_runner.backends.choice import Choice
    from agent_runner.backends.failure import Failure
    from agent_runner.backends.reply_format import ReplyFormat
    from agent_runner.backends.server import Server
    from cli_tools.schema import Tool

OUTPUT_TOKENS: Final = 8192
"""The longest reply where none is configured; the API wants a figure."""
_REFUSED: Final = frozenset({400, 422})


@dataclass(slots=True)
class _Sending:
    """How a conversation is sent: one for all copies of a backend, so that all know what one was refused."""

    wired: Wired[Wire | None]
    thoughts: bool = True
    """Whether what the model thought goes back."""


class AnthropicBackend:
    """Ask a server that speaks Anthropic's messages.

    Args:
        server: Whom to ask; its `base_url` is without `/v1`.
        name: How the ledger calls the model.
        patience: How often to try.
    """

    def __init__(self, server: Server, *, name: str, patience: Patience | None = None) -> None:
        self._name = name
        self.talk = Talk(server, "messages", patience or Patience())
        self._made: AsyncAnthropic | None = None
        self._by = server.author
        self._sending = _Sending(Wired(partial(wire_message, by=self._by)))
        self._choice: Choice | None = None
        self._form: ReplyFormat | None = None

    @property
    def kind(self) -> str:
        """Return `anthropic`."""
        return "anthropic"

    @property
    def model(self) -> str:
        """Return the configured name and what the server calls the model."""
        return f"{self._name} ({self.talk.server.model})"

    def choosing(self, choice: Choice) -> AnthropicBackend:
        """Return the same backend, whose replies call a tool; `choice.ChoosingBackend`."""
        other = copy(self)
        other._choice = choice  # noqa: SLF001 - a backend of this very class
        return other

    def formatting(self, form: ReplyFormat) -> AnthropicBackend:
        """Return the same backend, whose replies are JSON; `reply_format.FormattingBackend`.

        Raises:
            ModelServerError: When any JSON object would do: the API asks for JSON by a schema alone.
        """
        if form.described is None:
            raise cannot_format("a backend of kind `anthropic` asks for JSON by a schema, and none was given")
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

        What the model thought goes back as it came. A server that refuses the conversation with it is asked
        without from then on.

        Raises:
            agent_runner.backends.failure.ModelServerError: When no whole reply could be had.
        """
        try:
            return await self._asked(self._sending.wired, messages, tools, tell)
        except ModelServerError as error:
            if not self._may_be_of_thoughts(error.failure, messages):
                raise
            self.talk.notice(f"{error.message}; asking again without what the model thought")
        without = Wired(wire_message)
        reply = await self._asked(without, messages, tools, tell)
        self._sending.wired, self._sending.thoughts = without, False
        return reply

    def _may_be_of_thoughts(self, failure: Failure, messages: Sequence[Message]) -> bool:
        replies = (message.reply for message in messages if isinstance(message, ModelMessage))
        sent = self._sending.thoughts and any(t.by == self._by for reply in replies for t in reply.thoughts)
        return sent and not failure.told and failure.status in _REFUSED and not failure.too_long

    async def _asked(
        self,
        wired: Wired[Wire | None],
        messages: Sequence[Message],
        tools: Sequence[Tool],
        tell: Tell | None,
    ) -> Reply:
        server = self.talk.server
        system = wire_system(messages, prompt_cache=server.prompt_cache)
        request = messages_request(server, system, joined(wired.of(messages)), tools)
        if tools and self._choice is not None:
            request["tool_choice"] = {
                **cast("Wire", request.get("tool_choice", {})),
                **wire_choice(self._choice),
            }
        if self._form is not None and self._form.described is not None:
            request["output_config"] = wire_format(self._form.described)
        described = described_to_model(tools, self._form)
        taken = known_ids(messages)
        aloud = Aloud(taken, tell)
        sdk = await self._sdk()  # outside of an attempt's time: the first import may take seconds

        async def attempt() -> Reply:
            reader = MessagesReader()
            answer = await sdk.messages.create(**cast("dict[str, Any]", request))
            if request["stream"]:
                await self.talk.read(cast("Stream", answer), reader, aloud)
            else:
                whole(reader, answer)
            reply = reader.pieces.reply(taken, sent_tokens=lambda: estimated(messages, described))
            return replace(reply, thoughts=reader.thoughts(self._by))

        return await self.talk.replied(attempt, aloud)

    async def list_models(self) -> list[Mapping[str, object]]:
        """Return what the server says of its models."""
        sdk = await self._sdk()
        return await self.talk.listed(sdk.models.list)

    async def close(self) -> None:
        """Give back connections."""
        self._made = None
        await self.talk.close()

    async def _sdk(self) -> AsyncAnthropic:
        # Everything that the SDK would read from the environment is given; the door shows the key.
        if self._made is None:
            await sdk_imported("anthropic", "anthropic.resources.messages")
            from anthropic import AsyncAnthropic  # noqa: PLC0415 - it waits until a model is asked

            self._made = AsyncAnthropic(
                api_key="the door holds it",
                webhook_key="",
                base_url=self.talk.server.base_url,
                max_retries=0,
                timeout=None,
                open_telemetry=False,
                http_client=await self.talk.client(),
            )
        return self._made


def messages_request(
    server: Server, system: Sequence[Wire], messages: Sequence[Wire], tools: Sequence[Tool]
) -> Wire:
    """Return the request's body; pure, so that the same conversation is the same bytes.

    Two marks for the server's prompt cache, both of which stay where they are while the conversation grows:
    on the system text (with the tools before it), and, for the growing end, on the request itself.

    Args:
        server: Whom it is for.
        system: As `messages_wire.wire_system` makes it.
        messages: The conversation, as `messages_wire.wire_messages` makes it.
        tools: What the model may call.
    """
    request: Wire = {
        "model": server.model,
        "max_tokens": server.output_tokens or OUTPUT_TOKENS,
        "messages": list(messages),
        "stream": server.stream,
    }
    if system:
        request["system"] = list(system)
    if tools:
        request["tools"] = wire_tools(tools)
        if not server.parallel_calls:
            request["tool_choice"] = {"type": "auto", "disable_parallel_tool_use": True}
    if server.prompt_cache:
        request["cache_control"] = {"type": "ephemeral"}
    return request
