"""Take a session's secrets out of what an agent asks: what no ledger holds, no model sees."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent_runner.backends.backend import (
    Call,
    Message,
    ModelMessage,
    ObservationMessage,
    SystemMessage,
    UserMessage,
)
from agent_runner.backends.choice import Choice
from agent_runner.backends.reply_format import NAMELESS
from cli_tools.action import ToolProposal

if TYPE_CHECKING:
    from agent_runner.backends.reply_format import ReplyFormat
    from audit.redact import Redactor
    from cli_tools.schema import Tool

_WITHHELD: Final = "[a picture was withheld]"
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME: Final = 64


class Redacted:
    """Redact messages and tools.

    Args:
        redactor: Knows the secrets.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def message(self, message: Message) -> Message:
        """Return a message without secrets, and without pictures that hold one.

        Such a picture is told as withheld, and the question is put and counted: a refusal would tell an
        agent, for nothing and unseen by the ledger, whether what it guessed is the secret.
        """
        match message:
            case UserMessage(text=text, media=media):
                shown = tuple(each for each in media if not self._holds_secret(each.raw))
                withheld = [_WITHHELD] * (len(media) - len(shown))
                return replace(message, text="\n".join([*withheld, self._raw(text)]), media=shown)
            case SystemMessage():
                return replace(message, text=self._raw(message.text))
            case ObservationMessage(call_id=call_id, text=text):
                return replace(message, call_id=self._raw(call_id), text=self._raw(text))
            case ModelMessage(reply=reply):
                calls = tuple(map(self._call, reply.calls))
                return ModelMessage(reply=replace(reply, text=self._raw(reply.text), calls=calls))

    def _call(self, call: Call) -> Call:
        proposal = call.proposal
        if isinstance(proposal, ToolProposal):
            arguments = self._raw(proposal.arguments)
            proposal = replace(proposal, tool=self._name(proposal.tool), arguments=arguments)
        return replace(call, call_id=self._raw(call.call_id), proposal=proposal)

    def tool(self, tool: Tool) -> Tool:
        """Return a tool without secrets; a number that holds one becomes a text."""
        parameters = {self._raw(name): self._schema(each) for name, each in tool.parameters.items()}
        if self._holds_secret(json.dumps(parameters, ensure_ascii=False).encode()):
            parameters = {"type": "object"}  # one that is itself JSON, of several values
        return replace(
            tool,
            name=self._name(tool.name),
            description=self._raw(tool.description),
            parameters=parameters,
        )

    def choice(self, choice: Choice | None) -> Choice | None:
        """Return the wish for a tool by the name that the tool has now."""
        return None if choice is None else Choice(tool=self._name(choice.tool))

    def form(self, form: ReplyFormat | None) -> ReplyFormat | None:
        """Return the format of a reply without secrets."""
        if form is None or form.described is None:
            return form
        described = self.tool(form.described)
        if described.name != form.described.name:
            described = replace(described, name=NAMELESS)
        return replace(form, described=described)

    def _schema(self, value: object) -> object:
        """Return part of a schema without secrets; it is nowhere deep (`cli_tools.strict_json`)."""
        if isinstance(value, str):
            return self._raw(value)
        if isinstance(value, dict):
            return {self._raw(name): self._schema(each) for name, each in value.items()}
        if isinstance(value, list):
            return list(map(self._schema, value))
        spelled = json.dumps(value)
        shown = self._raw(spelled)
        return value if shown == spelled else shown

    def _name(self, name: str) -> str:
        """Return a tool's name without secrets, of letters that every server takes."""
        shown = self._raw(name)
        return name if shown == name else _NOT_IN_NAMES.sub("-", shown)[:_LONGEST_NAME]

    def _holds_secret(self, content: bytes) -> bool:
        return self._redactor.raw(content) != content

    def _raw(self, text: str) -> str:
        return self._redactor.raw(text.encode("utf-8", "backslashreplace")).decode("utf-8", "replace")
