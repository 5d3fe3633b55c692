"""Carry questions out of the parsing process and replies into it: closed messages, strict both ways.

The parser reads what an agent wrote, and so is as hostile as the agent once it is taken over: what it says is
bounded, validated whole, and can be nothing but a conversation and tools for one of the session's models.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from agent_runner.backends.media import MOST_MEDIA
from agent_runner.gateway.asked import End
from agent_runner.gateway.schema import MOST_MESSAGES, MOST_STOPS, MOST_TOOLS, STOP_CHARACTERS
from sandbox.egress.wire import read_as


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CallMade(_Closed):
    """A call, as the ledger and the backends take one."""

    call_id: Annotated[str, Field(max_length=128)]
    tool: Annotated[str, Field(max_length=1024)]
    arguments: str


class SystemSaid(_Closed):
    """What stands before a conversation."""

    kind: Literal["system"] = "system"
    text: str


class Picture(_Closed):
    """A picture that an agent shows; what is none is refused where it is decoded (`crossing`)."""

    type: str
    data: str


class UserSaid(_Closed):
    """What an agent says to the model."""

    kind: Literal["user"] = "user"
    text: str
    media: Annotated[tuple[Picture, ...], Field(max_length=MOST_MEDIA)] = ()


class ModelSaid(_Closed):
    """What an agent says that the model said."""

    kind: Literal["model"] = "model"
    text: str
    calls: tuple[CallMade, ...]


class ResultSeen(_Closed):
    """What an agent says came of a call."""

    kind: Literal["result"] = "result"
    call_id: Annotated[str, Field(max_length=128)]
    text: str
    refused: bool


class ToolOffered(_Closed):
    """A tool that the agent carries out itself."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str
    parameters: dict[str, object]


Said = Annotated[SystemSaid | UserSaid | ModelSaid | ResultSeen, Field(discriminator="kind")]


Stop = Annotated[str, Field(max_length=STOP_CHARACTERS)]


class CallWanted(_Closed):
    """A call that the agent wants; an empty name is any."""

    tool: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{0,64}$")]


class FormatWanted(_Closed):
    """What the agent wants the reply's text to be; without a description, any JSON object."""

    described: ToolOffered | None
    strict: bool


class Question(_Closed):
    """One question, rebuilt."""

    model: Annotated[str, Field(max_length=256)]
    stream: bool = False
    stops: Annotated[tuple[Stop, ...], Field(max_length=MOST_STOPS)] = ()
    messages: Annotated[tuple[Said, ...], Field(max_length=MOST_MESSAGES)]
    tools: Annotated[tuple[ToolOffered, ...], Field(max_length=MOST_TOOLS)]
    choice: CallWanted | None = None
    form: FormatWanted | None = None


class ReplyTold(_Closed):
    """What the model said."""

    text: str
    calls: tuple[CallMade, ...]
    end: End
    input_tokens: int
    output_tokens: int
    cached_tokens: int


class Begin(_Closed):
    """The first message to the parser: everything that it knows."""

    kind: Literal["begin"] = "begin"
    models: tuple[str, ...]


class MoreText(_Closed):
    """The model says more text."""

    kind: Literal["text"] = "text"
    id: int
    text: str


class NextCall(_Closed):
    """The model begins a call."""

    kind: Literal["call"] = "call"
    id: int
    call_id: str
    name: str


class MoreArguments(_Closed):
    """The model says more of that call."""

    kind: Literal["arguments"] = "arguments"
    id: int
    text: str


class Replied(_Closed):
    """The model has said it all; where steps are told, each of them was. The blob is `ReplyTold`."""

    kind: Literal["replied"] = "replied"
    id: int


class Refusal(_Closed):
    """There is no reply."""

    kind: Literal["refused"] = "refused"
    id: int
    status: int
    code: str
    message: str


class Asking(_Closed):
    """Ask the model; the blob is `Question`."""

    kind: Literal["asking"] = "asking"
    id: Annotated[int, Field(ge=1)]


class GivenUp(_Closed):
    """Nobody waits for that answer any more."""

    kind: Literal["given-up"] = "given-up"
    id: Annotated[int, Field(ge=1)]


Told = MoreText | NextCall | MoreArguments
ToParser = Begin | Told | Replied | Refusal
ToRunner = Asking | GivenUp
_TO_PARSER: Final[TypeAdapter[ToParser]] = TypeAdapter(Annotated[ToParser, Field(discriminator="kind")])
_TO_RUNNER: Final[TypeAdapter[ToRunner]] = TypeAdapter(Annotated[ToRunner, Field(discriminator="kind")])
_QUESTION: Final = TypeAdapter(Question)


def to_parser(head: bytes) -> ToParser:
    """Read a message as the parser does.

    Raises:
        WireError: When it is none.
    """
    return read_as(_TO_PARSER, head, what="a message for the parser")


def to_runner(head: bytes) -> ToRunner:
    """Read a message as the runner does.

    Raises:
        WireError: When it is none.
    """
    return read_as(_TO_RUNNER, head, what="a message from the parser")


def question_told(blob: bytes) -> Question:
    """Read a question as the runner does.

    Raises:
        WireError: When it is none.
    """
    return read_as(_QUESTION, blob, what="a question")
