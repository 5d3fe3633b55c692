"""Put a reply together from the pieces in which it comes; bounded, and indifferent to who sends them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from agent_runner.backends.backend import Call, Reply, Usage
from agent_runner.backends.estimate import tokens
from agent_runner.backends.wording import unique_ids
from cli_tools.action import ToolProposal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAXIMUM_TEXT: Final = 1024 * 1024
"""Characters of text and reasoning together."""
MAXIMUM_ARGUMENTS: Final = 20 * 1024 * 1024
"""Characters of the arguments of all calls: a body of 16 MiB, which the gate takes, and its escapes."""
MAXIMUM_CALLS: Final = 128
WITHHELD: Final = frozenset({"content_filter", "refusal"})
"""How servers say that a filter of theirs, not the model, ended a reply: OpenAI's word and Anthropic's."""
_MOST_TOKENS: Final = 10**12
_LONGEST_REASON: Final = 200


@dataclass(slots=True)
class PartialCall:
    """A call of which more may come."""

    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    named_again: bool = False
    """Whether its last piece was a name alone, behind arguments: of another call, or of this one."""
    may_have_none: bool = False
    """Whether it began with `{}`: all of its arguments, or what some servers write before they come."""


class Pieces:
    """Gather text, reasoning, calls and usage."""

    def __init__(self) -> None:
        self.text: list[str] = []
        """What the model said so far, in the pieces in which it came."""
        self._reasoning: list[str] = []
        self._text_left = MAXIMUM_TEXT
        self._arguments_left = MAXIMUM_ARGUMENTS
        self._sealed = 0
        self._heard = 0
        self.calls: list[PartialCall] = []
        self.cut = ""
        """Why the rest is left out; empty while nothing is."""
        self.is_full = False
        """Whether a bound of ours is reached, so that nothing more is read."""
        self.ended = False
        """Whether the server said that the reply is complete."""
        self.usage: Usage | None = None
        self._begun = time.monotonic()
        self._stop = ""
        self._first_seconds: float | None = None

    @property
    def is_empty(self) -> bool:
        """Say whether nothing of the model's own has come yet."""
        return not (self.text or self._reasoning or self.calls)

    def look_for_first(self) -> None:
        """Take note of how long it took until something of the model's own was there."""
        if self._first_seconds is None and not self.is_empty:
            self._first_seconds = time.monotonic() - self._begun

    @property
    def _come(self) -> int:
        return MAXIMUM_TEXT - self._text_left + MAXIMUM_ARGUMENTS - self._arguments_left + self._sealed

    @property
    def said_tokens(self) -> int:
        """Return what the model has said so far, as estimated; a server's count where that is more."""
        return max((self.usage or Usage()).output_tokens, tokens(self._come))  # Anthropic begins with a 1

    def newly_come(self) -> int:
        """Return how many characters came since this was last called, those of sealed thoughts among them."""
        new, self._heard = self._come - self._heard, self._come
        return new

    def end(self, reason: object) -> None:
        """Take the server's word for why the model stopped, where it has said one."""
        if reason:
            self.ended = True
            self._stop = str(reason)[:_LONGEST_REASON]
            if self._stop in WITHHELD:
                self.cut = f"the server withheld the rest, `{self._stop}`"

    def add_text(self, text: object) -> None:
        """Take a piece of what the model says."""
        self._add(self.text, text)

    def add_reasoning(self, text: object) -> None:
        """Take a piece of what the model thinks aloud."""
        self._add(self._reasoning, text)

    def count_sealed(self, *pieces: object) -> None:
        """Count what is sealed of a thought: that of one which is not shown holds all of it."""
        self._sealed += sum(len(piece) for piece in pieces if isinstance(piece, str))

    def _add(self, to: list[str], text: object) -> None:
        if not isinstance(text, str) or not text:
            return
        to.append(text[: self._text_left])
        self._text_left -= len(to[-1])
        if len(to[-1]) < len(text):
            self._fill(f"more than {MAXIMUM_TEXT} characters")

    def _fill(self, why: str) -> None:
        self.is_full, self.cut = True, why

    def new_call(self, call_id: object = "", name: object = "") -> PartialCall:
        """Begin a call; beyond the bound it is begun but not kept."""
        call = PartialCall(call_id=call_id if isinstance(call_id, str) else "")
        if isinstance(name, str):
            call.name = name[:1024]
        if len(self.calls) >= MAXIMUM_CALLS:
            self._fill(f"more than {MAXIMUM_CALLS} calls")
        else:
            self.calls.append(call)
        return call

    def add_arguments(self, call: PartialCall, arguments: object) -> None:
        """Take a piece of a call's arguments: text, or, from some servers, the object itself."""
        if arguments is None or arguments == "":
            return
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        call.arguments.append(text[: self._arguments_left])
        self._arguments_left -= len(call.arguments[-1])
        if len(call.arguments[-1]) < len(text):
            self._fill(f"arguments of more than {MAXIMUM_ARGUMENTS} characters")

    def reply(self, taken: set[str], *, sent_tokens: Callable[[], int]) -> Reply:
        """Return the whole reply.

        Args:
            taken: The ids of all calls of the conversation so far.
            sent_tokens: Estimates what was sent, where the server counts nothing.
        """
        text = "".join(self.text)
        if self.cut:
            text = f"{text}\n" * bool(text) + f"[the reply was cut here: {self.cut}]"
        ids = unique_ids([call.call_id for call in self.calls], taken)
        calls = tuple(
            Call(
                call_id=call_id,
                proposal=ToolProposal(tool=call.name, arguments="".join(call.arguments) or "{}"),
            )
            for call_id, call in zip(ids, self.calls, strict=True)
        )
        return Reply(
            text=text,
            calls=calls,
            usage=self._counted(sent_tokens),
            reasoning="".join(self._reasoning),
            stop=self._stop,
            first_token_seconds=self._first_seconds,
        )

    def _counted(self, sent_tokens: Callable[[], int]) -> Usage:
        """Estimate what the server did not count: no budget of tokens is endless for want of figures."""
        usage = self.usage or Usage()
        said = tokens(self._come)
        if usage.input_tokens and (usage.output_tokens or not said):
            return usage
        return replace(
            usage,
            input_tokens=usage.input_tokens or sent_tokens(),
            output_tokens=usage.output_tokens or said,
            estimated=True,
        )


def count(source: Mapping[str, object], *names: str) -> int:
    """Return the first of these members that is a count, else 0; some servers write 7 as `7.0`."""
    for name in names:
        value = source.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS:
            return value
    return 0


def members(value: object) -> Mapping[str, object]:
    """Return an object's members; what is none has none."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """Return a list's items; what is none has none."""
    return value if isinstance(value, list) else []
