"""Ask Dynamo through the backend that sessions have, and measure what share of it all its cache had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent_runner.backends.backend import Message, ModelMessage, SystemMessage, UserMessage
from agent_runner.backends.chat_completions import OpenAIBackend
from agent_runner.backends.dynamo import Dynamo
from agent_runner.backends.retry import Patience
from agent_runner.backends.server import Server
from cli_tools.schema import Tool
from tests.agent_runner.backends.dynamo.deployment import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TURNS: Final = 12
BLOCK_TOKENS: Final = 16
"""The engine keeps whole blocks: the tokens of a begun one cannot come from its cache."""
TALK: Final[tuple[Message, ...]] = (SystemMessage(text="You act."), UserMessage(text="List the files."))
LIST: Final = Tool(
    name="files_list",
    description="List a folder.",
    parameters={
        "type": "object",
        "properties": {"path": {"type": "string"}, "limit": {"type": "integer"}},
        "additionalProperties": False,
    },
)


def backend(url: str, *, attempts: int = 1, hints: Dynamo | None = None, **more: Any) -> OpenAIBackend:
    """Return a backend for Dynamo, with replies of a few words unless a test wants more."""
    settings = {"output_tokens": 24, "timeout_seconds": 120.0, **more}
    server = Server(base_url=url, model=MODEL, dynamo=hints or Dynamo(), **settings)
    return OpenAIBackend(server, name="default", patience=Patience(attempts=attempts))


def observed(turn: int) -> str:
    """Return what a program might have said: several blocks of words."""
    return f"turn {turn}: " + " ".join(
        f"file{turn}_{number}.py reads {number * turn}" for number in range(24)
    )


async def cached_share(
    asked: OpenAIBackend, early: Callable[[int], str], tools: Sequence[Tool] = (LIST,)
) -> float:
    """Return the share of the tokens that could be cached, and were, by Dynamo's own count.

    What could be: all that the turn before had in, in whole blocks. The first turn counts for nothing.

    Args:
        asked: Whom to ask.
        early: The system text in each turn.
        tools: What is offered.
    """
    talk: list[Message] = [UserMessage(text="Read what is there.")]
    could, were, before = 0, 0, 0
    for turn in range(1, TURNS + 1):
        reply = await asked.ask((SystemMessage(text=early(turn)), *talk), tools)
        assert not reply.usage.estimated
        could += before // BLOCK_TOKENS * BLOCK_TOKENS
        were += min(reply.usage.cached_tokens, before) if turn > 1 else 0
        before = reply.usage.input_tokens
        talk += [ModelMessage(reply=reply), UserMessage(text=observed(turn))]
    return were / could
