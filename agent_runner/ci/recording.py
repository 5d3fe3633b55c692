"""Keep the model's side of a session as a file that people can read: what it said, asked and was answered.

It is made from the session's ledger, so secrets are redacted in it as they are there, and nothing in it is
trusted: what it asks for goes through the gate like anything else that a model asks for.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypedDict

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from agent_runner.backends.backend import (
    Call,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    Usage,
    UserMessage,
)
from agent_runner.errors import InvalidInputError
from agent_runner.fold import read_conversation
from audit.escape import escape_line
from cli_tools.action import LineProposal, Proposal, ToolProposal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from agent_runner.backends.backend import Message
    from agent_runner.ci.reading import Task

VERSION: Final = 1
LARGEST_BYTES: Final = 64 * 1024 * 1024
MOST_TOKENS: Final = 2**53
"""Of one turn."""
Text = str | tuple[str, ...]
"""A text of several lines stands as a list of them, so that a difference between two files can be read."""


def _base64(text: str) -> str:
    base64.b64decode(text, validate=True)  # its error is a ValueError, which names the field
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RecordedCall(_Strict):
    """One call, and what the model was answered."""

    id: str
    command: str = ""
    """A command line; empty for a call of a tool."""
    content: Text | None = None
    """What stood beside the command line."""
    content_base64: Annotated[str, AfterValidator(_base64)] = ""
    """The same, where it is no text."""
    tool: str = ""
    arguments: Text = ""
    """Of the tool, as the model wrote them."""
    answer: Text | None = None
    """None when the session ended before there was one."""

    def proposal(self) -> Proposal:
        """Return what is asked for."""
        if self.tool:
            return ToolProposal(tool=self.tool, arguments=_joined(self.arguments))
        if self.content_base64:
            return LineProposal(line=self.command, body=base64.b64decode(self.content_base64))
        body = None if self.content is None else _joined(self.content).encode()
        return LineProposal(line=self.command, body=body)

    @property
    def action(self) -> str:
        """Return what is asked for as one line; not escaped."""
        return f"{self.tool} {_joined(self.arguments)}" if self.tool else self.command

    @property
    def answered(self) -> str | None:
        """Return the answer as it was."""
        return None if self.answer is None else _joined(self.answer)


class RecordedTurn(_Strict):
    """One reply."""

    text: Text = ""
    calls: tuple[RecordedCall, ...] = ()
    input_tokens: int = Field(default=0, ge=0, le=MOST_TOKENS)
    output_tokens: int = Field(default=0, ge=0, le=MOST_TOKENS)
    cached_tokens: int = Field(default=0, ge=0, le=MOST_TOKENS)

    def reply(self) -> Reply:
        """Return it as the model gave it; it costs nothing now."""
        return Reply(
            text=_joined(self.text),
            calls=tuple(Call(call_id=call.id, proposal=call.proposal()) for call in self.calls),
            usage=Usage(
                input_tokens=self.input_tokens,
                output_tokens=self.output_tokens,
                cached_tokens=self.cached_tokens,
            ),
        )


class Recording(_Strict):
    """The model's side of one session."""

    version: Literal[1] = 1
    task: str
    """The case's name."""
    model: str
    """What was asked, as the ledger called it."""
    policy: str
    """The policy's name."""
    session: str = Field(pattern="^[0-9a-hjkmnp-tv-z]{12}$")
    """The session that was recorded; answers are compared without its id, and no other text goes."""
    system: Text
    """What the runner told the model first."""
    prompt: Text
    turns: tuple[RecordedTurn, ...] = ()

    @property
    def opening(self) -> tuple[str, str]:
        """Return what stood before the first turn: the runner's words and the task's."""
        return _joined(self.system), _joined(self.prompt)


def recording_path(folder: Path, case: str, attempt: int) -> Path:
    """Return where a case's recording lies; each attempt has its own."""
    return folder / (f"{case}.json" if attempt == 1 else f"{case}.attempt-{attempt}.json")


def recorded(state: Path, session: str, task: Task, *, model: str) -> Recording:
    """Return the recording of a session that is over.

    Args:
        state: The state folder.
        session: Whole id.
        task: The case.
        model: As the ledger calls it.

    Raises:
        audit.errors.BrokenLedgerError: When its ledger does not hold.
    """
    messages = read_conversation(state, session)
    system = next((each.text for each in messages if isinstance(each, SystemMessage)), "")
    prompt = next((each.text for each in messages if isinstance(each, UserMessage)), "")
    return Recording(
        task=task.name,
        model=model,
        policy=task.policy.name,
        session=session,
        system=_lines(system),
        prompt=_lines(prompt),
        turns=tuple(turns_of(messages)),
    )


def as_text(recording: Recording) -> str:
    """Return a recording as its file has it: ASCII alone, so that nothing in it shows as what it is not."""
    told = {"version": VERSION, **recording.model_dump(mode="json", exclude_defaults=True)}
    return json.dumps(told, indent=1) + "\n"


def read_recording(path: Path, case: str) -> Recording:
    """Read a recording.

    Args:
        path: The file.
        case: Whose it has to be.

    Raises:
        InvalidInputError: When there is none, or it is not one, or another's.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise InvalidInputError(f"recording `{path}` has more than {LARGEST_BYTES} bytes")
        recording = Recording.model_validate_json(content)
    except OSError as error:
        raise InvalidInputError(
            f"recording `{path}` cannot be read: {str(error.strerror).lower()}",
            hint="`pairlock ci run --record DIR` makes it",
        ) from error
    except ValidationError as error:
        raise InvalidInputError(
            f"`{path}` is no recording of version {VERSION}: {_fault(error)}",
            hint="`pairlock ci run --record DIR` makes it anew",
        ) from error
    if recording.task != case:
        raise InvalidInputError(
            f"`{path}` is a recording of `{escape_line(recording.task, width=80)}`, expected `{case}`"
        )
    return recording


def turns_of(messages: Sequence[Message]) -> Iterator[RecordedTurn]:
    """Yield each reply of a conversation with the answers to its calls, which follow it in their order."""
    for place, message in enumerate(messages):
        if not isinstance(message, ModelMessage):
            continue
        answers: list[str] = []
        for after in messages[place + 1 :]:
            if isinstance(after, ModelMessage):
                break
            if isinstance(after, ObservationMessage):
                answers.append(after.text)
        reply = message.reply
        yield RecordedTurn(
            text=_lines(reply.text),
            calls=tuple(
                _call(call, answers[number] if number < len(answers) else None)
                for number, call in enumerate(reply.calls)
            ),
            input_tokens=reply.usage.input_tokens,
            output_tokens=reply.usage.output_tokens,
            cached_tokens=reply.usage.cached_tokens,
        )


def _call(call: Call, answer: str | None) -> RecordedCall:
    told = None if answer is None else _lines(answer)
    match call.proposal:
        case LineProposal(line=line, body=body):
            return RecordedCall(id=call.call_id, command=plain(line), answer=told, **_content(body))
        case ToolProposal(tool=tool, arguments=arguments):
            return RecordedCall(id=call.call_id, tool=plain(tool), arguments=_lines(arguments), answer=told)


class _Content(TypedDict, total=False):
    content: Text
    content_base64: str


def _content(body: bytes | None) -> _Content:
    if body is None:
        return {}
    try:
        return {"content": _lines(body.decode())}
    except UnicodeDecodeError:
        return {"content_base64": base64.b64encode(body).decode("ascii")}


def plain(text: str) -> str:
    """Return a text without what is no character: half of a UTF-16 pair, or a byte, becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _lines(text: str) -> Text:
    text = plain(text)
    return tuple(text.split("\n")) if "\n" in text else text


def _joined(text: Text) -> str:
    return text if isinstance(text, str) else "\n".join(text)


def _fault(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return escape_line(f"`{where}`: {first['msg'].lower()}", width=200)
