"""Write an agent's questions and what came of them into the ledger, every message once."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final, Literal

import orjson

from agent_runner.backends.backend import (
    Message,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    UserMessage,
)
from agent_runner.gateway.asked import named_calls
from agent_runner.transcript_model import write_tried
from audit import event
from audit.fields import ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_runner.backends.backend import Backend
    from agent_runner.backends.choice import Choice
    from agent_runner.backends.reply_format import ReplyFormat
    from agent_runner.errors import BackendError
    from audit.fields import Commitment
    from audit.journal import Journal
    from cli_tools.schema import Tool

Role = Literal["system", "user", "tool"]
_HUNG_UP: Final = "the agent hung up before the answer"


class Pages:
    """Write down one session's questions; a question names all of its messages by their digests.

    Args:
        journal: The session's ledger.
        turns: How many questions were counted.
    """

    def __init__(self, journal: Journal, turns: Callable[[], int]) -> None:
        self._journal = journal
        self._turns = turns
        self._known: set[bytes] = set()
        self.kept_bytes = 0
        """Written into the ledger's openings: every byte of it is of the agent's making."""

    async def asked(
        self,
        backend: Backend,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        choice: Choice | None,
        form: ReplyFormat | None,
    ) -> None:
        """Write down a question before it is put: messages, pictures by place, tools and what is wished."""
        offered = [await self._write_once("tools", "system", _offered(tools))] if tools else []
        formats = [await self._write_once("format", "system", _formatted(form))] if form else []
        digests = [await self._write_once(_kind(message), *_told(message)) for message in messages]
        told = {
            "messages": digests,
            "pictures": _pictures(messages),
            "tools": [tool.name for tool in tools],
            "offered": offered,
            "format": formats,
            "choice": None if choice is None else choice.tool,
        }
        await self._journal.record(
            event.ModelAsked(
                turn=self._turns() + 1,
                backend=backend.kind,
                model=backend.model,
                messages=self._kept(orjson.dumps(told)),
                message_count=len(messages),
            )
        )

    async def _write_once(self, kind: str, role: Role, words: str, call: str = "") -> str:
        """Write down what the model is told, if nobody has, and return its digest."""
        digest = _digest(kind, role, words, call)
        if digest not in self._known:
            await self._journal.record(
                event.MessageAdded(role=role, content=self._kept(_bytes(words)), call=call)
            )
            self._known.add(digest)
        return digest.hex()

    async def broken_off(self, told: str) -> None:
        """Write down what the agent was told of a reply that never became whole."""
        if told:
            content = self._kept(_bytes(f"of a reply that was not whole, the agent was told:\n{told}"))
            await self._journal.record_lazily(event.MessageAdded(role="system", content=content))

    def _kept(self, content: bytes) -> Commitment:
        self.kept_bytes += len(content)
        return self._journal.commit(content)

    async def answered(self, backend: Backend, reply: Reply, elapsed: float) -> None:
        """Write down a reply."""
        said = ModelMessage(reply=reply)
        self._known.add(_digest(_kind(said), *_told(said)))
        usage, first = reply.usage, reply.first_token_seconds
        await self._journal.record(
            event.ModelAnswered(
                turn=self._turns(),
                backend=backend.kind,
                model=reply.by or backend.model,
                text=self._kept(_bytes(reply.text)) if reply.text else None,
                tool_calls=tuple(
                    ToolCall(call=call_id, name=name, arguments=arguments)
                    for call_id, name, arguments in named_calls(reply)
                ),
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cached_tokens=usage.cached_tokens,
                duration_ms=int(elapsed * 1000),
                first_token_ms=first if first is None else int(first * 1000),
                stop=reply.stop,
                cost_micros=usage.cost_micros,
            )
        )

    async def failed(self, backend: Backend, error: BackendError, elapsed: float) -> None:
        """Write down that a model, and each that was asked before it, gave none."""
        await write_tried(self._journal, self._turns(), backend, error.tried)
        attempt = len(error.tried) + 1
        await self._journal.record(self._failure(backend, error.message, elapsed, attempt=attempt))

    async def hung_up(self, backend: Backend, elapsed: float) -> None:
        """Write down that the agent waits for no answer any more."""
        await self._journal.record_lazily(self._failure(backend, _HUNG_UP, elapsed))

    def _failure(
        self, backend: Backend, error: str, elapsed: float, *, attempt: int = 1
    ) -> event.ModelFailed:
        return event.ModelFailed(
            turn=self._turns(),
            backend=backend.kind,
            model=backend.model,
            error=error,
            attempt=attempt,
            duration_ms=int(elapsed * 1000),
            will_retry=False,
        )


def _kind(message: Message) -> str:
    """Return what keeps messages of the same words apart: whose they are, and how many pictures they show."""
    shown = len(message.media) if isinstance(message, UserMessage) else 0
    return f"{type(message).__name__}/{shown}"


def _pictures(messages: Sequence[Message]) -> dict[str, list[str]]:
    """Return what names the pictures of each message that shows any, by its place from 0."""
    return {
        str(place): [each.told for each in message.media]
        for place, message in enumerate(messages)
        if isinstance(message, UserMessage) and message.media
    }


def _told(message: Message) -> tuple[Role, str, str]:
    """Return a message's role in the ledger, its words and the call that it answers."""
    match message:
        case SystemMessage(text=text):
            return "system", text, ""
        case UserMessage(text=text, media=media):
            return "user", "\n".join([*(each.told for each in media), text]), ""
        case ObservationMessage(call_id=call_id, text=text):
            return "tool", text, call_id
        case ModelMessage(reply=reply):
            # What the agent says that the model said; our own replies are known, and never told again.
            calls = [f"{call_id} {name} {arguments}" for call_id, name, arguments in named_calls(reply)]
            return "user", "\n".join(["assistant, as the agent tells it:", reply.text, *calls]), ""


def _offered(tools: Sequence[Tool]) -> str:
    """Return the tools as the ledger keeps them: their descriptions are words to the model, too."""
    listed = [[tool.name, tool.description, tool.parameters] for tool in tools]
    return "tools, as the agent offers them:\n" + json.dumps(listed, ensure_ascii=False)


def _formatted(form: ReplyFormat) -> str:
    """Return the format of a reply as the ledger keeps it: what it describes are words to the model, too."""
    told = form.described
    listed = None if told is None else [told.name, told.description, told.parameters, form.strict]
    return "format of the reply, as the agent wants it:\n" + json.dumps(listed, ensure_ascii=False)


def _digest(kind: str, role: str, words: str, call: str) -> bytes:
    """Return what names a message: no two that differ in any part have one."""
    parts = [kind, role, call, _bytes(words).decode()]
    return hashlib.sha256(orjson.dumps(parts)).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
