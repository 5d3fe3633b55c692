"""Say what a request to a model is once it was read: a conversation and tools, rebuilt from a closed schema.

An agent's request is never passed on. What is understood is taken out of it, and everything else is refused:
a provider's servers act on the fields of a request, and so would be a way out (`backends.closed`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.backends.backend import Call, ModelMessage, Reply, UserMessage
from agent_runner.backends.media import MOST_MEDIA, TOKENS, media_of_url
from agent_runner.backends.wording import safe_text
from cli_tools.action import ToolProposal
from cli_tools.schema import Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_runner.backends.backend import Message
    from agent_runner.backends.media import Media

MOST_MESSAGES: Final = 20_000
MOST_TOOLS: Final = 512
MOST_STOPS: Final = 16
STOP_CHARACTERS: Final = 256
CUT: Final = "length"
"""Why a model stopped, where it was a length."""
_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_CALL_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_CHARACTERS_PER_TOKEN: Final = 4
_LENGTHS: Final = frozenset({CUT, "max_tokens", "model_context_window_exceeded", "max_output_tokens"})
_WIRE_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


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
    stops: tuple[str, ...] = ()
    """Texts before which the reply is cut."""


def capability(what: str) -> RefusedRequestError:
    """Return the refusal of something that a provider's server would act on."""
    return RefusedRequestError(
        f"capability: a request to a model may not hold {what}", status=400, code="capability"
    )


def fields(value: object, where: str, *, taken: frozenset[str], left: frozenset[str]) -> Mapping[str, object]:
    """Return an object whose every member is known.

    Args:
        value: What should be an object.
        where: How messages call it.
        taken: Members that are read.
        left: Members that are understood and have no effect here: the operator's configuration decides.

    Raises:
        RefusedRequestError: When it is none, or holds another member.
    """
    if not isinstance(value, Mapping):
        raise RefusedRequestError(f"{where} is no object")
    given = {name: found for name, found in value.items() if found is not None}
    if extra := sorted(given.keys() - taken - left):
        raise capability(f"field `{extra[0][:80]}` of a {where}")
    return given


def items(value: object, where: str, *, most: int = MOST_MESSAGES) -> list[object]:
    """Return a list that is not too long.

    Raises:
        RefusedRequestError: When it is none, or is.
    """
    if not isinstance(value, list):
        raise RefusedRequestError(f"{where} is no list")
    if len(value) > most:
        raise RefusedRequestError(f"{where} has more than {most} items")
    return value


def conversation(messages: list[Message]) -> tuple[Message, ...]:
    """Return the messages of a request: one turn of an API's may be many.

    Raises:
        RefusedRequestError: When they are too many.
    """
    if len(messages) > MOST_MESSAGES:
        raise too_large(f"the request holds more than {MOST_MESSAGES} messages and results")
    if sum(len(each.media) for each in messages if isinstance(each, UserMessage)) > MOST_MEDIA:
        raise too_large(f"the request holds more than {MOST_MEDIA} pictures")
    return tuple(messages)


def too_large(why: str) -> RefusedRequestError:
    """Return the refusal of a request that is too large."""
    return RefusedRequestError(why, status=413, code="request_too_large")


def text(value: object, where: str) -> str:
    """Return text.

    Raises:
        RefusedRequestError: When it is none.
    """
    if not isinstance(value, str):
        raise RefusedRequestError(f"{where} is no text")
    return value


def joined(content: object, where: str, kinds: frozenset[str]) -> str:
    """Return the text of a content: a text itself, or a list of parts, all of which have to be text.

    Raises:
        RefusedRequestError: When a part is anything else, code `capability`.
    """
    if isinstance(content, str):
        return content
    return "".join(part_text(part, where, kinds) for part in items(content, where))


def user_message(
    content: object, where: str, kinds: frozenset[str], picture: Callable[[object], Media | None]
) -> UserMessage:
    """Return what a user says: a text itself, or a list of parts, each of them text or a picture.

    Args:
        content: The text, or the parts.
        where: How messages call it.
        kinds: How the API calls parts that are text.
        picture: Returns the picture that a part is; None where it is none.

    Raises:
        RefusedRequestError: When a part is anything else, code `capability`.
    """
    if isinstance(content, str):
        return UserMessage(text=content)
    words: list[str] = []
    media: list[Media] = []
    for part in items(content, where):
        found = picture(part)
        if found is None:
            words.append(part_text(part, where, kinds))
        else:
            media.append(found)
    return UserMessage(text="".join(words), media=tuple(media))


def picture_at(url: object, where: str) -> Media:
    """Return the picture that a URL holds.

    Raises:
        RefusedRequestError: When it holds none; one that would have to be fetched has the code `capability`.
    """
    if not isinstance(url, str) or not url.startswith("data:"):
        raise capability(f"{where} that is no `data:` URL: the server would fetch it")
    try:
        return media_of_url(url)
    except ValueError as error:
        raise RefusedRequestError(str(error)) from error


def part_text(part: object, where: str, kinds: frozenset[str]) -> str:
    """Return the text of one part.

    Raises:
        RefusedRequestError: When it is anything else, code `capability`.
    """
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise capability(f"{where} of type `{str(kind)[:80]}`")
    known = fields(
        part,
        f"part of {where}",
        taken=frozenset({"type", "text"}),
        left=frozenset({"cache_control", "annotations", "logprobs"}),
    )
    return text(known.get("text"), where)


def model_name(value: object) -> str:
    """Return the model that is asked for."""
    return text(value, "model")


def function_tool(name: object, description: object, parameters: object) -> Tool:
    """Return a tool that the agent itself carries out.

    Raises:
        RefusedRequestError: When it has no usable name or schema.
    """
    if not isinstance(name, str) or not _WIRE_NAME.fullmatch(name):
        raise RefusedRequestError("a tool's name is not 1 to 64 of letters, digits, `_` and `-`")
    schema = parameters if parameters is not None else {"type": "object", "properties": {}}
    if not isinstance(schema, Mapping):
        raise RefusedRequestError(f"the parameters of tool `{name}` are no object")
    said = "" if description is None else text(description, f"the description of tool `{name}`")
    try:
        json.dumps([said, schema], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise RefusedRequestError(f"tool `{name}` holds half of a UTF-16 pair") from None
    return Tool(name=name, description=said, parameters=dict(schema))


def tools(given: Mapping[str, object], read: Callable[[object], Tool]) -> tuple[Tool, ...]:
    """Return the tools on offer as OpenAI's APIs tell them; none where the choice is `none`.

    Raises:
        RefusedRequestError: When a tool is none, or one has to be chosen, which not every model's server can.
    """
    listed = tuple(read(each) for each in items(given.get("tools", []), "tools", most=MOST_TOOLS))
    choice = given.get("tool_choice", "auto")
    if choice not in ("auto", "none"):
        raise RefusedRequestError("`tool_choice` is `auto` or `none` here", code="unsupported")
    return listed if choice == "auto" else ()


def stops(value: object, where: str) -> tuple[str, ...]:
    """Return the texts before which a reply is cut.

    Raises:
        RefusedRequestError: When they are too many or too long: each piece of a reply is searched for them.
    """
    listed = tuple(safe_text(text(each, where)) for each in items(value, where, most=MOST_STOPS))
    if any(len(stop) > STOP_CHARACTERS for stop in listed):
        raise RefusedRequestError(f"a text of `{where}` has more than {STOP_CHARACTERS} characters")
    return listed


def openai_error(error: RefusedRequestError) -> object:
    """Return an error as OpenAI's APIs tell it."""
    return {"error": {"message": error.message, "type": error.code, "code": error.code, "param": None}}


def call(call_id: object, name: object, arguments: object) -> Call:
    """Return a call that an earlier reply made."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RefusedRequestError("a call's name is not 1 to 128 of letters, digits, `_`, `.` and `-`")
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return Call(call_id=call_name(call_id), proposal=ToolProposal(tool=name, arguments=written))


def call_name(value: object) -> str:
    """Return the id of a call, as models and servers make them."""
    if not isinstance(value, str) or not _CALL_ID.fullmatch(value):
        raise RefusedRequestError("a call's id is not 1 to 128 of letters, digits, `_`, `.`, `:` and `-`")
    return value


def said(content: str, calls: tuple[Call, ...]) -> ModelMessage:
    """Return what a model said earlier."""
    return ModelMessage(reply=Reply(text=content, calls=calls))


def cut(reply_text: str, stops: tuple[str, ...]) -> str:
    """Return text up to the first of the stops."""
    places = [place for stop in stops if stop and (place := reply_text.find(stop)) >= 0]
    return reply_text[: min(places)] if places else reply_text


def was_cut(reply: Reply) -> bool:
    """Say whether the model stopped at a length that was allowed, in either API's word."""
    return reply.stop in _LENGTHS


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


def estimated(messages: Sequence[Message], tools: Sequence[Tool]) -> int:
    """Return a token for every four characters: what a model's server would count is only known to it."""
    words = sum(map(_characters, messages))
    offered = sum(len(tool.name) + len(tool.description) + len(json.dumps(tool.parameters)) for tool in tools)
    return tokens(words + offered)


def tokens(characters: int) -> int:
    """Return a token for every four characters, the last of them begun."""
    return -(-characters // _CHARACTERS_PER_TOKEN)


def _characters(message: Message) -> int:
    if isinstance(message, UserMessage):
        return len(message.text) + len(message.media) * TOKENS * _CHARACTERS_PER_TOKEN
    if not isinstance(message, ModelMessage):
        return len(message.text)
    reply = message.reply
    return len(reply.text) + sum(len(name) + len(arguments) for _, name, arguments in named_calls(reply))
