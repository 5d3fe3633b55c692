"""Do what a server's refusal asks for: its model's template may want more of a conversation than others do.

Other servers refuse what one of these wants, or charge for it, so that nothing of it is sent unasked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.backends.backend import ModelMessage, UserMessage
from agent_runner.backends.wording import NOTHING, safe_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent_runner.backends.backend import Message
    from agent_runner.backends.failure import Failure

_BRIDGE: Final[Mapping[str, object]] = {"role": "assistant", "content": NOTHING}


@dataclass(slots=True)
class Demands:
    """What a server was found to want; kept for the session once a question was answered with it."""

    reasoning: bool = False
    """What the model thought, beside what it said (DeepSeek, Kimi)."""
    alternation: bool = False
    """A reply between a tool's result, or a user's message, and the user's next one (Mistral's templates)."""

    def learn(self, failure: Failure) -> bool:
        """Take note of what a refusal asks for; return whether that was not sent before."""
        new = (failure.wants == "reasoning" and not self.reasoning) or (
            failure.wants == "alternation" and not self.alternation
        )
        self.reasoning = self.reasoning or failure.wants == "reasoning"
        self.alternation = self.alternation or failure.wants == "alternation"
        return new

    def keep(self, tried: Demands) -> None:
        """Take over what a question was answered with."""
        self.reasoning = self.reasoning or tried.reasoning
        self.alternation = self.alternation or tried.alternation

    def met(
        self, messages: Iterable[Message], wired: list[dict[str, object]], *, by: str
    ) -> list[dict[str, object]]:
        """Return what is sent for a conversation.

        Args:
            messages: The conversation.
            wired: What each of it is sent as where nothing is wanted.
            by: The model that is asked: it is shown its own thoughts, and no other's.
        """
        if not (self.reasoning or self.alternation):
            return wired
        made: list[dict[str, object]] = []
        for message, wire in zip(messages, wired, strict=True):
            if self.alternation and isinstance(message, UserMessage) and _wants_reply(made):
                made.append(dict(_BRIDGE))
            if self.reasoning and isinstance(message, ModelMessage):
                thought = message.reply.reasoning if message.reply.reasoning_by == by else ""
                # Kimi takes an empty one for none.
                wire = {**wire, "reasoning_content": safe_text(thought) if thought.strip() else NOTHING}  # noqa: PLW2901 - the same message
            made.append(wire)
        return made


def _wants_reply(made: list[dict[str, object]]) -> bool:
    return bool(made) and made[-1]["role"] in {"user", "tool"}
