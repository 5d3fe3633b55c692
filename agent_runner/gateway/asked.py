"""Say what a request to a model is once it was read, and what of a reply is told to whoever asked.

An agent's request is never passed on: `schema` takes out what is understood, and refuses all else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from agent_runner.backends.pieces import WITHHELD
from cli_tools.action import ToolProposal

if TYPE_CHECKING:
    from agent_runner.backends.backend import Message, Reply
    from agent_runner.backends.choice import Choice
    from agent_runner.backends.reply_format import ReplyFormat
    from cli_tools.schema import Tool

End = Literal["whole", "cut", "withheld"]
"""How a reply ended: by itself, at a length that was allowed, or by the word of a server's filter."""
_LENGTHS: Final = frozenset({"length", "max_tokens", "model_context_window_exceeded", "max_output_tokens"})


class RefusedRequestError(Exception):
    """Raised when a request of an agent's is not answered.

    Args:
        message: One line: why.
        status: The HTTP status of the answer.
        code: A word that programs may compare.
    """

    def __init__(self, message: str, *, status: int = 400, code: str = "invalid_request") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, rebuilt."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    stream: bool = False
    choice: Choice | None = None
    """A call that the agent wants; None leaves it to the model."""
    form: ReplyFormat | None = None
    """What the reply's text is to be; None for any text."""
    counted: bool = False
    """Whether the end of a stream of chat completions tells the tokens; nobody else is asked for that."""
    stops: tuple[str, ...] = ()
    """Texts before which the reply is cut."""


def capability(what: str) -> RefusedRequestError:
    """Return the refusal of something that a provider's server would act on."""
    return RefusedRequestError(
        f"capability: a request to a model may not hold {what}", status=400, code="capability"
    )


def too_large(why: str) -> RefusedRequestError:
    """Return the refusal of a request that is too large."""
    return RefusedRequestError(why, status=413, code="request_too_large")


def openai_error(error: RefusedRequestError) -> object:
    """Return an error as OpenAI's APIs tell it."""
    return {"error": {"message": error.message, "type": error.code, "code": error.code, "param": None}}


def cut(reply_text: str, stops: tuple[str, ...]) -> str:
    """Return text up to the first of the stops."""
    found = _first_stop(reply_text, stops)
    return reply_text if found is None else reply_text[: found[0]]


def stopped_by(reply: Reply, stops: tuple[str, ...]) -> str | None:
    """Return the stop that ends a reply; None where none does: one before a call ends only the text."""
    found = None if reply.calls else _first_stop(reply.text, stops)
    return None if found is None else found[1]


def _first_stop(text: str, stops: tuple[str, ...]) -> tuple[int, str] | None:
    found = [(place, stop) for stop in stops if stop and (place := text.find(stop)) >= 0]
    return min(found, default=None)


def ended(reply: Reply) -> End:
    """Return how the model ended its reply, whichever API's word the server has for it."""
    if reply.stop in _LENGTHS:
        return "cut"
    return "withheld" if reply.stop in WITHHELD else "whole"


def named_calls(reply: Reply) -> list[tuple[str, str, str]]:
    """Return id, name and arguments of a reply's calls; a command line is told as a call of `line`."""
    told: list[tuple[str, str, str]] = []
    for made in reply.calls:
        proposal = made.proposal
        if isinstance(proposal, ToolProposal):
            told.append((made.call_id, proposal.tool, proposal.arguments or "{}"))
        else:
            told.append((made.call_id, "line", json.dumps({"line": proposal.line})))
    return told
