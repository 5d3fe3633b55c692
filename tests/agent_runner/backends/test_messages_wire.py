"""A conversation as Anthropic's API wants it."""

from __future__ import annotations

import pytest

from agent_runner.backends.backend import (
    Call,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    UserMessage,
)
from agent_runner.backends.messages_wire import MessagesReader, wire_messages, wire_system
from agent_runner.backends.wording import NOTHING
from cli_tools.action import LineProposal, ToolProposal

CALLS = (
    Call(call_id="functions.read:0", proposal=ToolProposal(tool="files_read", arguments='{"path": "x"}')),
    Call(call_id="1.2", proposal=LineProposal(line="files list")),
)


def test_the_results_of_one_reply_are_one_message_and_follow_it() -> None:
    talk = (
        SystemMessage(text="s"),
        UserMessage(text=""),
        ModelMessage(reply=Reply(text=" ", calls=CALLS)),
        ObservationMessage(call_id="functions.read:0", text="content", refused=False),
        ObservationMessage(call_id="1.2", text="denied", refused=True),
        ModelMessage(reply=Reply(text="")),
    )

    assert wire_messages(talk) == [
        {"role": "user", "content": [{"type": "text", "text": NOTHING}]},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "functions-read-0", "name": "files_read", "input": {"path": "x"}},
                {"type": "tool_use", "id": "1-2", "name": "files_list", "input": {"line": "files list"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "functions-read-0", "content": "content"},
                {"type": "tool_result", "tool_use_id": "1-2", "content": "denied", "is_error": True},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": NOTHING}]},
    ]


def test_the_mark_for_the_cache_is_on_the_system_text_unless_it_is_turned_off() -> None:
    talk = (SystemMessage(text="s"), UserMessage(text="u"))

    assert wire_system(talk, prompt_cache=True) == [
        {"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}
    ]
    assert wire_system(talk, prompt_cache=False) == [{"type": "text", "text": "s"}]


@pytest.mark.parametrize(
    "pieces", [(), ("",), ('{"path": ', '"x"}'), ("", '{"path": "x"}')], ids=["none", "empty", "two", "again"]
)
def test_arguments_that_stand_in_a_calls_beginning_and_come_again_are_taken_once(
    pieces: tuple[str, ...],
) -> None:
    """Gateways that have a whole call tell it so, and some follow the API's form besides."""
    reader = MessagesReader()
    block = {"type": "tool_use", "id": "t1", "name": "files_read", "input": {"path": "x"}}
    reader.take({"type": "content_block_start", "index": 0, "content_block": block})
    for piece in pieces:
        delta = {"type": "input_json_delta", "partial_json": piece}
        reader.take({"type": "content_block_delta", "index": 0, "delta": delta})
    reader.take({"type": "content_block_stop", "index": 0})
    (call,) = reader.pieces.reply(set(), sent_tokens=lambda: 0).calls

    assert call.proposal == ToolProposal(tool="files_read", arguments='{"path": "x"}')
