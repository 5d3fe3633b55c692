"""Read requests to a model from a closed schema: text, pictures, function tools, and nothing else.

A provider's servers act on the fields of a request, and so would be a way out (`backends.closed`): a field
that is not known is refused, wherever it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from agent_runner.backends.backend import Call, ModelMessage, ObservationMessage, Reply, UserMessage
from agent_runner.backends.choice import Choice
from agent_runner.backends.media import MOST_MEDIA, media_of_url
from agent_runner.backends.references import refers_elsewhere
from agent_runner.backends.wording import safe_text
from agent_runner.gateway.asked import RefusedRequestError, capability, too_large
from cli_tools.action import ToolProposal
from cli_tools.schema import Tool

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runner.backends.backend import Message
    from agent_runner.backends.media import Media

MOST_MESSAGES: Final = 20_000
MOST_TOOLS: Final = 512
MOST_STOPS: Final = 16
STOP_CHARACTERS: Final = 256
_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_CALL_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_WIRE_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


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


def shown(
    content: object, where: str, kinds: frozenset[str], picture: Callable[[object], Media | None]
) -> tuple[list[str], tuple[Media, ...]]:
    """Return the texts and the pictures of a content: a text itself, or a list of parts, each one of them.

    Args:
        content: The text, or the parts.
        where: How messages call it.
        kinds: How the API calls parts that are text.
        picture: Returns the picture that a part is; None where it is none.

    Raises:
        RefusedRequestError: When a part is anything else, code `capability`.
    """
    if isinstance(content, str):
        return [content], ()
    words: list[str] = []
    media: list[Media] = []
    for part in items(content, where):
        found = picture(part)
        if found is None:
            words.append(part_text(part, where, kinds))
        else:
            media.append(found)
    return words, tuple(media)


def result(call: object, words: list[str], media: tuple[Media, ...], *, refused: bool) -> ObservationMessage:
    """Return what came of a call; its pictures are for a user's message, where every server takes them."""
    told = [*words, f"[pictures that follow: {len(media)}]"] if media else words
    return ObservationMessage(call_id=call_name(call), text="".join(told), refused=refused)


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
    schema = parameters if parameters is not None else {"type": "object", "properties": {}}
    return described(name, description, schema, what="tool")


def described(name: object, description: object, schema: object, *, what: str) -> Tool:
    """Return what has a name, a description and a schema of its own.

    Args:
        name: The name.
        description: The description; None for none.
        schema: The schema.
        what: How messages call it.

    Raises:
        RefusedRequestError: When it has no usable name or schema.
    """
    if not isinstance(name, str) or not _WIRE_NAME.fullmatch(name):
        raise RefusedRequestError(f"a {what}'s name is not 1 to 64 of letters, digits, `_` and `-`")
    if not isinstance(schema, Mapping):
        raise RefusedRequestError(f"the schema of {what} `{name}` is no object")
    if refers_elsewhere(schema):
        raise capability(
            f"a schema that refers elsewhere, as that of {what} `{name}`: the server may fetch it"
        )
    said = "" if description is None else text(description, f"the description of {what} `{name}`")
    try:
        json.dumps([said, schema], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise RefusedRequestError(f"{what} `{name}` holds half of a UTF-16 pair") from None
    return Tool(name=name, description=said, parameters=dict(schema))


def tools(given: Mapping[str, object], read: Callable[[object], Tool]) -> tuple[Tool, ...]:
    """Return the tools on offer.

    Raises:
        RefusedRequestError: When one of them is none.
    """
    return tuple(read(each) for each in items(given.get("tools", []), "tools", most=MOST_TOOLS))


def chosen(
    given: object, offered: tuple[Tool, ...], *, name: object = None
) -> tuple[tuple[Tool, ...], Choice | None]:
    """Return the tools that are on offer after a choice, and the call that it wants.

    Args:
        given: `auto`, `none`, `required` or `any`; any other word where a tool is named.
        offered: The tools on offer.
        name: The tool that is named; None where none is.

    Raises:
        RefusedRequestError: When it is another word, or the tool is not on offer.
    """
    if name is not None:
        if all(tool.name != name for tool in offered):
            raise RefusedRequestError("`tool_choice` names a tool that is not on offer")
        return offered, Choice(tool=str(name))
    match given:
        case "auto":
            return offered, None
        case "none":
            return (), None
        case "required" | "any" if offered:
            return offered, Choice()
        case _:
            raise RefusedRequestError(
                "`tool_choice` is `auto`, `none`, any of the tools or one of them here", code="unsupported"
            )


def stops(value: object, where: str) -> tuple[str, ...]:
    """Return the texts before which a reply is cut.

    Raises:
        RefusedRequestError: When they are too many or too long: each piece of a reply is searched for them.
    """
    listed = tuple(safe_text(text(each, where)) for each in items(value, where, most=MOST_STOPS))
    if any(len(stop) > STOP_CHARACTERS for stop in listed):
        raise RefusedRequestError(f"a text of `{where}` has more than {STOP_CHARACTERS} characters")
    return listed


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
