"""Turn questions and replies into what crosses between the runner and its parser, and back. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from agent_runner.backends.aloud import ArgumentsTold, CallTold, Step, TextTold
from agent_runner.backends.backend import (
    Call,
    Message,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    Usage,
    UserMessage,
)
from agent_runner.backends.choice import Choice
from agent_runner.backends.media import media_of
from agent_runner.backends.reply_format import ReplyFormat
from agent_runner.backends.wording import safe_text
from agent_runner.gateway.asked import Asked, End, ended, named_calls
from agent_runner.gateway.wire import (
    CallMade,
    CallWanted,
    FormatWanted,
    ModelSaid,
    MoreArguments,
    MoreText,
    NextCall,
    Picture,
    Question,
    ReplyTold,
    ResultSeen,
    SystemSaid,
    ToolOffered,
    UserSaid,
    question_told,
)
from cli_tools.action import ToolProposal
from cli_tools.schema import Tool
from sandbox.egress.wire import WireError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_runner.gateway.wire import Said, Told


_STOPS: Final[Mapping[End, str]] = {"whole": "", "cut": "length", "withheld": "content_filter"}


def question_bytes(asked: Asked) -> bytes:
    """Return a question as it crosses; halves of UTF-16 pairs, which no server takes, become escapes."""
    question = Question(
        model=asked.model,
        stream=asked.stream,
        stops=tuple(map(safe_text, asked.stops)),
        messages=tuple(map(_told, asked.messages)),
        tools=tuple(map(_offered, asked.tools)),
        choice=None if asked.choice is None else CallWanted(tool=asked.choice.tool),
        form=None if asked.form is None else _form_told(asked.form),
    )
    return question.model_dump_json().encode()


def question_of(blob: bytes) -> Asked:
    """Return the question that crossed.

    Raises:
        WireError: When it is none.
    """
    question = question_told(blob)
    try:
        messages = tuple(map(_heard, question.messages))
    except ValueError as error:
        raise WireError(f"it shows what is no picture: {error}") from error
    tools = tuple(map(_tool, question.tools))
    return Asked(
        model=question.model,
        messages=messages,
        tools=tools,
        stream=question.stream,
        stops=question.stops,
        choice=None if question.choice is None else _wanted(question.choice, tools),
        form=None if question.form is None else _form(question.form),
    )


def _offered(tool: Tool) -> ToolOffered:
    return ToolOffered(name=tool.name, description=tool.description, parameters=dict(tool.parameters))


def _tool(offered: ToolOffered) -> Tool:
    return Tool(name=offered.name, description=offered.description, parameters=offered.parameters)


def _form_told(form: ReplyFormat) -> FormatWanted:
    described = None if form.described is None else _offered(form.described)
    return FormatWanted(described=described, strict=form.strict)


def _form(wanted: FormatWanted) -> ReplyFormat:
    described = None if wanted.described is None else _tool(wanted.described)
    return ReplyFormat(described=described, strict=wanted.strict)


def _wanted(choice: CallWanted, tools: tuple[Tool, ...]) -> Choice:
    if not any(choice.tool in ("", tool.name) for tool in tools):
        raise WireError("it wants a tool to be called that is not on offer")
    return Choice(tool=choice.tool)


def told(number: int, step: Step) -> Told:
    """Return a step of the reply to a question as it crosses."""
    match step:
        case TextTold(text=text):
            return MoreText(id=number, text=text)
        case CallTold(call_id=call_id, name=name):
            return NextCall(id=number, call_id=call_id, name=name)
        case ArgumentsTold(text=text):
            return MoreArguments(id=number, text=text)
        case _:
            assert_never(step)


def step_of(message: Told) -> Step:
    """Return the step that crossed."""
    match message:
        case MoreText(text=text):
            return TextTold(text=text)
        case NextCall(call_id=call_id, name=name):
            return CallTold(call_id=call_id, name=name)
        case MoreArguments(text=text):
            return ArgumentsTold(text=text)
        case _:
            assert_never(message)


def reply_bytes(reply: Reply) -> bytes:
    """Return a reply as it crosses."""
    usage = reply.usage
    return (
        ReplyTold(
            text=safe_text(reply.text),
            calls=_calls(reply),
            end=ended(reply),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_tokens,
        )
        .model_dump_json()
        .encode()
    )


def reply_of(blob: bytes) -> Reply:
    """Return the reply that crossed; it comes from the runner."""
    told = ReplyTold.model_validate_json(blob)
    usage = Usage(
        input_tokens=told.input_tokens, output_tokens=told.output_tokens, cached_tokens=told.cached_tokens
    )
    return Reply(text=told.text, calls=_made(told.calls), usage=usage, stop=_STOPS[told.end])


def _told(message: Message) -> Said:
    match message:
        case SystemMessage(text=text):
            return SystemSaid(text=safe_text(text))
        case UserMessage(text=text, media=media):
            shown = tuple(Picture(type=each.kind, data=each.data) for each in media)
            return UserSaid(text=safe_text(text), media=shown)
        case ModelMessage(reply=reply):
            return ModelSaid(text=safe_text(reply.text), calls=_calls(reply))
        case ObservationMessage(call_id=call_id, text=text, refused=refused):
            return ResultSeen(call_id=call_id, text=safe_text(text), refused=refused)
        case _:
            assert_never(message)


def _heard(said: Said) -> Message:
    match said:
        case SystemSaid(text=text):
            return SystemMessage(text=text)
        case UserSaid(text=text, media=shown):
            return UserMessage(text=text, media=tuple(media_of(each.type, each.data) for each in shown))
        case ModelSaid(text=text, calls=calls):
            return ModelMessage(reply=Reply(text=text, calls=_made(calls)))
        case ResultSeen(call_id=call_id, text=text, refused=refused):
            return ObservationMessage(call_id=call_id, text=text, refused=refused)
        case _:
            assert_never(said)


def _calls(reply: Reply) -> tuple[CallMade, ...]:
    return tuple(
        CallMade(call_id=safe_text(call_id), tool=safe_text(name), arguments=safe_text(arguments))
        for call_id, name, arguments in named_calls(reply)
    )


def _made(calls: tuple[CallMade, ...]) -> tuple[Call, ...]:
    return tuple(
        Call(call_id=call.call_id, proposal=ToolProposal(tool=call.tool, arguments=call.arguments))
        for call in calls
    )
