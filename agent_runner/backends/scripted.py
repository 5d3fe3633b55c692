"""Play a model from a file: no key, no server. What the demo and the tests name.

The file is YAML:

    version: 1
    turns:
      - text: I look around first.
        actions:
          - files list
          - {command: files write src/x.py, content: "…"}
          - {tool: files_read, arguments: '{"path": "x"}'}     # as a model's tool call would come
      - actions: ["finish --status done 'fixed'"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from agent_runner.backends.backend import Call, Message, Reply, Usage
from agent_runner.backends.checked_yaml import read_checked
from agent_runner.errors import BackendError
from cli_tools.action import LineProposal, Proposal, ToolProposal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cli_tools.schema import Tool

MAXIMUM_BYTES: Final = 4 * 1024 * 1024


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class LineAction(_Strict):
    """A command line with content beside it."""

    command: str
    content: str | None = None

    def proposal(self) -> Proposal:
        """Return what is proposed."""
        body = None if self.content is None else self.content.encode("utf-8", "surrogateescape")
        return LineProposal(line=self.command, body=body)


class ToolAction(_Strict):
    """A tool call, its arguments as JSON text: valid or, for tests of hostile models, not."""

    tool: str
    arguments: str = "{}"

    def proposal(self) -> Proposal:
        """Return what is proposed."""
        return ToolProposal(tool=self.tool, arguments=self.arguments)


def _form(action: object) -> str:
    """Return which of the three forms an action is meant to have: what is wrong in it is told of that one."""
    if isinstance(action, dict):
        return "ToolAction" if "tool" in action else "LineAction"
    return type(action).__name__ if isinstance(action, LineAction | ToolAction) else "str"


Action = Annotated[
    Annotated[str, Tag("str")]
    | Annotated[LineAction, Tag("LineAction")]
    | Annotated[ToolAction, Tag("ToolAction")],
    Discriminator(_form),
]


class Turn(_Strict):
    """One reply."""

    text: str = ""
    actions: tuple[Action, ...] = Field(default=(), strict=False)

    def proposals(self) -> tuple[Proposal, ...]:
        """Return the proposals in order."""
        return tuple(
            LineProposal(line=action) if isinstance(action, str) else action.proposal()
            for action in self.actions
        )


class Script(_Strict):
    """A whole file."""

    version: Literal[1]
    turns: Annotated[tuple[Turn, ...], Field(min_length=1, strict=False)]


def load_script(path: Path) -> Script:
    """Read and check a script.

    Raises:
        InvalidInputError: When the file is missing or is not a script; the message has file:line:column.
    """
    return read_checked(path, Script, what="script", maximum_bytes=MAXIMUM_BYTES)


class ScriptedBackend:
    """Answer from a script, turn by turn; the conversation does not change what it says.

    Args:
        script: What to say.
        name: How the ledger and messages call it.
    """

    def __init__(self, script: Script, *, name: str) -> None:
        self._script = script
        self._name = name
        self._turn = 0

    @property
    def kind(self) -> str:
        """Return `scripted`."""
        return "scripted"

    @property
    def model(self) -> str:
        """Return the script's name."""
        return self._name

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:  # noqa: ARG002 - a script listens to nobody
        """Return the next turn; tokens are counted as words, so that budgets have something to count."""
        if self._turn >= len(self._script.turns):
            raise BackendError(
                f"the script `{self._name}` is exhausted after {self._turn} turns",
                hint="end it with the action `finish --status done`",
            )
        turn = self._script.turns[self._turn]
        self._turn += 1
        calls = tuple(
            Call(call_id=f"{self._turn}.{number}", proposal=proposal)
            for number, proposal in enumerate(turn.proposals(), start=1)
        )
        return Reply(text=turn.text, calls=calls, usage=Usage(output_tokens=len(turn.text.split())))

    async def close(self) -> None:
        """Do nothing: a script has no connection."""
