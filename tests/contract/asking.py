"""Ask a backend for a test: a conversation, a tool, and a backend of either API that never waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.backends.anthropic_messages import AnthropicBackend
from agent_runner.backends.backend import (
    Backend,
    Message,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    UserMessage,
)
from agent_runner.backends.chat_completions import OpenAIBackend
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.retry import Patience
from agent_runner.backends.server import Server
from cli_tools.schema import Tool

if TYPE_CHECKING:
    from tests.contract.model_server import (
        Dialect,
        ModelServer,
    )

TALK: tuple[Message, ...] = (SystemMessage(text="You act."), UserMessage(text="List the files."))


TOOL = Tool(name="files_list", description="List.", parameters={"type": "object", "properties": {}})


SECRET = "sk-very-secret-0123456789"  # noqa: S105 - a made-up key that must show up nowhere


async def never_sleep(_seconds: float) -> None:
    """Wait for nothing: the waits themselves are tested where they are decided."""


def backend_for(
    server: ModelServer, dialect: Dialect, *, attempts: int = 1, **settings: Any
) -> OpenAIBackend | AnthropicBackend:
    """Return a backend for a server."""
    waits = Patience(attempts=attempts, sleep=never_sleep)
    described = Server(**{"base_url": server.base_url(dialect), "model": "m", **settings})
    kind = OpenAIBackend if dialect == "chat" else AnthropicBackend
    return kind(described, name="default", patience=waits)


async def asked(backend: Backend, talk: tuple[Message, ...] = TALK) -> Reply:
    """Ask once and close."""
    try:
        return await backend.ask(talk, (TOOL,))
    finally:
        await backend.close()


async def refused(backend: Backend) -> ModelServerError:
    """Ask once and return the error."""
    with pytest.raises(ModelServerError) as caught:
        await asked(backend)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 600
    return caught.value


def after(reply: Reply, *results: str) -> tuple[Message, ...]:
    """Return what a turn adds to the conversation."""
    seen = tuple(
        ObservationMessage(call_id=call.call_id, text=text, refused=text.startswith("denied"))
        for call, text in zip(reply.calls, results, strict=True)
    )
    return (ModelMessage(reply=reply), *seen)
