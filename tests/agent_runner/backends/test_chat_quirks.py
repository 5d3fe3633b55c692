"""What servers of chat completions do differently, each as its chunks come, and what is made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_runner.backends.backend import Usage
from agent_runner.backends.chat_wire import ChatReader
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.messages_wire import MessagesReader
from cli_tools.action import ToolProposal

Chunk = dict[str, Any]


def chunk(delta: object, finish: str | None = None, **more: object) -> Chunk:
    """Return one chunk."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def call(name: str | None = None, arguments: object = None, **more: object) -> Chunk:
    """Return a chunk with one piece of a call."""
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    return chunk({"tool_calls": [{"type": "function", "function": function, **more}]})


def read(*chunks: Chunk) -> ChatReader:
    """Read chunks."""
    reader = ChatReader()
    for each in chunks:
        reader.take(each)
    return reader


def calls(*chunks: Chunk) -> list[tuple[str, str]]:
    """Return name and arguments of each call."""
    reply = read(*chunks).pieces.reply(set(), sent_tokens=lambda: 0)
    proposals = [each.proposal for each in reply.calls]
    return [(p.tool, p.arguments) for p in proposals if isinstance(p, ToolProposal)]


TWO = [("a", '{"x":1}'), ("b", '{"y":2}')]
PARALLEL = {
    "as the API has it": (
        call("a", "", index=0, id="1"),
        call(None, '{"x"', index=0),
        call("b", "", index=1, id="2"),
        call(None, ":1}", index=0),
        call(None, '{"y":2}', index=1),
    ),
    "no index, whole calls (Ollama)": (call("a", '{"x":1}', id="1"), call("b", '{"y":2}', id="2")),
    "no index and no id": (call("a", '{"x":1}'), call("b", '{"y":2}')),
    "no index, in pieces": (
        call("a", '{"x"', id="1"),
        call(None, ":1}"),
        call("b", '{"y"', id="2"),
        call(None, ":2}", id="2"),
    ),
    "one index for all, other ids": (
        call("a", '{"x":1}', index=0, id="1"),
        call("b", '{"y":2}', index=0, id="2"),
    ),
    "one index for all, no ids": (call("a", '{"x":1}', index=0), call("b", '{"y":2}', index=0)),
    "another id in every piece (older vLLM)": (
        call("a", '{"x"', index=0, id="1"),
        call(None, ":1}", index=0, id="7"),
        call("b", '{"y"', index=1, id="2"),
        call(None, ":2}", index=1, id="8"),
    ),
    "named again in every piece": (
        call("a", '{"x"', index=0, id="1"),
        call("a", ":1}", index=0, id="1"),
        call("b", '{"y":2}', index=1, id="2"),
    ),
    "arguments as an object": (call("a", {"x": 1}, index=0), call("b", {"y": 2}, index=1)),
    "indexes with a gap": (
        call("a", '{"x":1}', index=2, id="1"),
        call("b", "", index=7, id="2"),
        call(None, '{"y":2}', index=7),
    ),
    "an index that is text": (
        call("a", '{"x":1}', index="0", id="1"),
        call("b", '{"y":2}', index="1", id="2"),
    ),
    "index as null": (call("a", '{"x":1}', index=None, id="1"), call("b", '{"y":2}', index=None, id="2")),
}


SAME_TOOL = {
    "one index for all, no ids": (
        call("read", '{"path":"x"}', index=0),
        call("read", '{"path":"y"}', index=0),
        call("read", '{"path":"z"}', index=0),
    ),
    "one index for all, empty ids (Gemini)": (
        call("read", '{"path":"x"}', index=0, id=""),
        call("read", '{"path":"y"}', index=0, id=""),
        call("read", ' {"path":"z"}', index=0, id=""),
    ),
    "one index for all, no ids, arguments as objects": tuple(
        call("read", {"path": path}, index=0) for path in "xyz"
    ),
    "one index for all, no ids, in pieces": tuple(
        piece
        for path in "xyz"
        for piece in (
            call("read", "", index=0),
            call(None, '{"path":', index=0),
            call("", f'"{path}"}}', index=0),
        )
    ),
}


@pytest.mark.parametrize("chunks", SAME_TOOL.values(), ids=SAME_TOOL)
def test_calls_of_one_tool_at_one_index_are_as_many_calls(chunks: tuple[Chunk, ...]) -> None:
    assert [json.loads(arguments) for _, arguments in calls(*chunks)] == [{"path": p} for p in "xyz"]


@pytest.mark.parametrize("pieces", [('{"a":', '{"b":1}}'), ('{"a":"', '{"}'), ("", "{}"), ("{", "}")])
def test_a_piece_that_looks_like_a_beginning_goes_on_with_what_is_not_whole(pieces: tuple[str, ...]) -> None:
    found = calls(*(call("read", piece, index=0) for piece in pieces))

    assert found == [("read", "".join(pieces))]


@pytest.mark.parametrize("chunks", PARALLEL.values(), ids=PARALLEL)
def test_two_calls_are_two_calls_however_they_come(chunks: tuple[Chunk, ...]) -> None:
    found = calls(*chunks)

    assert [(name, json.loads(arguments)) for name, arguments in found] == [
        (name, json.loads(arguments)) for name, arguments in TWO
    ]


def test_a_call_without_arguments_has_none_to_give() -> None:
    assert calls(call("a", None, index=0, id="1")) == [("a", "{}")]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_is_kept_and_is_not_the_text(name: str) -> None:
    reader = read(chunk({name: "Hm. "}), chunk({name: "Yes."}), chunk({"content": "Done."}, "stop"))
    reply = reader.pieces.reply(set(), sent_tokens=lambda: 0)

    assert (reply.text, reply.reasoning) == ("Done.", "Hm. Yes.")


def test_content_in_parts_is_text_and_what_was_thought() -> None:
    """Mistral's servers tell both in one list; a part of another kind says nothing."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}, 7]}
    parts = [thought, {"type": "text", "text": "Do"}, {"type": "reference", "reference_ids": [1]}, None]

    reader = read(chunk({"content": parts}), chunk({"content": "ne."}, "stop"))
    reply = reader.pieces.reply(set(), sent_tokens=lambda: 0)

    assert (reply.text, reply.reasoning) == ("Done.", "Hm.")


def test_what_was_thought_may_be_a_parts_text_as_well_as_a_list_of_its_own() -> None:
    parts = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Done."}]

    reply = read(chunk({"content": parts}, "stop")).pieces.reply(set(), sent_tokens=lambda: 0)

    assert (reply.text, reply.reasoning) == ("Done.", "Hm.")


NOTHING_SAID = {
    "only its role": chunk({"role": "assistant"}),
    "a role and nothing": chunk({"role": "assistant", "content": None, "tool_calls": None}),
    "no choice (Azure's first chunk)": {"choices": [], "prompt_filter_results": []},
    "usage that is null (vLLM, in each)": {"choices": [], "usage": None},
    "an empty list of calls": chunk({"content": "", "tool_calls": []}),
    "no delta": {"choices": [{"index": 0, "finish_reason": None}]},
    "a finish reason that is empty": chunk({"content": ""}, ""),
    "another choice": {"choices": [{"index": 1, "delta": {}, "finish_reason": None}]},
}


@pytest.mark.parametrize("name", NOTHING_SAID)
def test_a_chunk_that_says_nothing_changes_nothing(name: str) -> None:
    nothing = NOTHING_SAID[name]

    reader = read(nothing, chunk({"content": "Yes."}), nothing, chunk({}, "stop"), nothing)
    reply = reader.pieces.reply(set(), sent_tokens=lambda: 8)

    assert (reply.text, reply.calls, reply.stop) == ("Yes.", (), "stop")
    assert reply.usage.estimated


def test_a_stream_of_which_every_chunk_says_nothing_never_ends() -> None:
    assert not read(*NOTHING_SAID.values()).pieces.ended


@pytest.mark.parametrize(
    "finish",
    ["stop", "tool_calls", "function_call", "eos", "content_filter", "STOP", "end_turn", "tool_call"],
)
def test_any_word_for_the_end_is_one_and_is_kept(finish: str) -> None:
    """Calls count whatever the word is: Ollama and older servers end them with `stop`."""
    reader = read(call("a", "{}", index=0, id="1"), chunk({}, finish))
    reply = reader.pieces.reply(set(), sent_tokens=lambda: 0)

    assert reader.pieces.ended
    assert (len(reply.calls), reply.stop) == (1, finish)


def test_usage_in_each_chunk_is_that_of_the_last() -> None:
    one = {"prompt_tokens": 10, "completion_tokens": 1}
    two = {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": None}

    reader = read(chunk({"content": "a"}, usage=one), chunk({}, "stop", usage=two))

    assert reader.pieces.usage == Usage(input_tokens=10, output_tokens=2)


def test_usage_in_the_choice_is_that_of_the_reply() -> None:
    """Kimi's servers tell it there."""
    last = chunk({}, "stop")
    last["choices"][0]["usage"] = {"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 8}

    reader = read(chunk({"content": "a"}), last)

    assert reader.pieces.usage == Usage(input_tokens=10, output_tokens=2, cached_tokens=8)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": -5, "completion_tokens": 10**30}, None),
        ({"prompt_tokens": True, "completion_tokens": "7"}, None),
        (
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 500}},
            Usage(input_tokens=5, cached_tokens=5),
        ),
        ({"prompt_tokens": 5, "prompt_cache_hit_tokens": 4}, Usage(input_tokens=5, cached_tokens=4)),
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            Usage(input_tokens=32, output_tokens=103),
        ),
        (
            {
                "prompt_tokens": 32,
                "completion_tokens": 103,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            Usage(input_tokens=32, output_tokens=103),
        ),
    ],
    ids=[
        *("out of range", "no numbers", "more cached than sent", "another name"),
        *("what was thought is counted apart (xAI, Gemini)", "what was thought is counted within"),
    ],
)
def test_usage_that_cannot_be_is_none(usage: Chunk, expected: Usage | None) -> None:
    assert read(chunk({}, "stop", usage=usage)).pieces.usage == expected


@pytest.mark.parametrize("finish", ["length", "model_length"])
def test_a_reply_at_the_servers_length_says_so(finish: str) -> None:
    """The second is Mistral's, for what the model takes in and says together."""
    reply = read(chunk({"content": "and so"}, finish)).pieces.reply(set(), sent_tokens=lambda: 0)

    assert reply.text == "and so\n[the reply was cut here: it reached the length that the server allows]"


@pytest.mark.parametrize("finish", ["error", "abort", "cancelled"])
def test_a_reply_that_ends_in_failure_is_one(finish: str) -> None:
    with pytest.raises(ModelServerError) as caught:
        read(chunk({"content": "half"}), chunk({}, finish))

    assert caught.value.failure.kind == "broken"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "message",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "index",
                    "id",
                    "content",
                    "finish_reason",
                    "usage",
                    "prompt_tokens",
                    "type",
                    "content_block",
                    "input",
                    "text",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(["choices", "usage", "type", "error"]), ANYTHING), max_size=4)
)
def test_no_chunk_of_any_shape_is_more_than_a_failure(chunks: list[Chunk]) -> None:
    for reader in (ChatReader(), MessagesReader()):
        try:
            for each in chunks:
                reader.take(each)
        except ModelServerError:
            continue
        reply = reader.pieces.reply(set(), sent_tokens=lambda: 10)
        assert all(isinstance(each.proposal, ToolProposal) for each in reply.calls)


MESSAGES_TYPES = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "message_delta",
    "message_stop",
    "message",
]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(MESSAGES_TYPES), st.dictionaries(st.text(max_size=8), ANYTHING))))
@pytest.mark.long
def test_no_event_of_any_shape_is_more_than_a_failure(events: list[tuple[str, Chunk]]) -> None:
    reader = MessagesReader()
    for kind, members in events:
        for name in ("delta", "content_block", "message", "content"):
            reader.take({**members, "type": kind, name: members})
    reader.pieces.reply(set(), sent_tokens=lambda: 0)
