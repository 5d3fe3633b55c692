"""Take a session's secrets out of what an agent asks: what no ledger holds, no model sees."""

from __future__ import annotations

import json
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
from agent_runner.backends.reply_format import NAMELESS
from cli_tools.action import ToolProposal

if TYPE_CHECKING:
    from agent_runner.backends.reply_format import ReplyFormat
    from audit.redact import Redactor
    from cli_tools.schema import Tool

_WITHHELD: Final = "[a picture was withheld]"


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
            case SystemMessage() | ObservationMessage():
                return replace(message, text=self._raw(message.text))
            case ModelMessage(reply=reply):
                calls = tuple(map(self._call, reply.calls))
                return ModelMessage(reply=replace(reply, text=self._raw(reply.text), calls=calls))

    def _call(self, call: Call) -> Call:
        proposal = call.proposal
        if isinstance(proposal, ToolProposal):
            proposal = replace(proposal, arguments=self._raw(proposal.arguments))
        return replace(call, proposal=proposal)

    def tool(self, tool: Tool) -> Tool:
        """Return a tool without secrets; a placeholder needs no escape inside a text of JSON."""
        parameters = json.loads(self._raw(json.dumps(tool.parameters, ensure_ascii=False)))
        return replace(tool, description=self._raw(tool.description), parameters=parameters)

    def form(self, form: ReplyFormat | None) -> ReplyFormat | None:
        """Return the format of a reply without secrets."""
        if form is None or form.described is None:
            return form
        described = self.tool(form.described)
        named = (
            described if self._raw(described.name) == described.name else replace(described, name=NAMELESS)
        )
        return replace(form, described=named)

    def _holds_secret(self, content: bytes) -> bool:
        return self._redactor.raw(content) != content

    def _raw(self, text: str) -> str:
        return self._redactor.raw(text.encode("utf-8", "backslashreplace")).decode("utf-8", "replace")
