"""What a model is shown acts on nothing, and can be given back byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.escape import is_hidden
from cli_tools.neutral import TOKEN, field, neutralise, restore, token_at, whole

PIECES = st.sampled_from(
    [
        b"<|im_start|>",
        b"<|eot_id|>",
        b"<|",
        b"|>",
        b"<",
        b">",
        b"[INST]",
        b"[/INST]",
        b"[",
        b"INST]",
        b"]~b]",
        b"]~!b[",
        b"[e~[",
        b"~b]",
        b"SYSTEM_PROMPT]",
        b"<|x<a|>",
        b"<s>",
        b"</s>",
        b"<<SYS>>",
        b"\xe2\x9f\xa6",
        b"\xe2\x9f\xa7",
        b"1b",
        b"x",
        b"ff",
        b"27e6",
        b"\x1b[2J",
        b"\r\n",
        b"\n",
        b"\t",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xe2\x80\xae",
        b"d800",
        b"110000",
        b"a",
    ]
)
CONTENT = st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=30).map(b"".join))


@given(CONTENT)
def test_neutralised_content_comes_back_as_it_was(content: bytes) -> None:
    """A file that was read and is written back keeps every byte, escapes that it had itself included."""
    assert restore(neutralise(content).encode()) == content
    assert restore(field(content).encode()) == content


@given(CONTENT)
def test_neutralised_content_has_no_control_character_and_no_control_token(content: bytes) -> None:
    text = neutralise(content)

    assert [character for character in text if character not in "\n\t" and is_hidden(character)] == []
    assert TOKEN.search(text) is None
    assert TOKEN.search(field(content)) is None
    assert not set("\n\t") & set(field(content))


@pytest.mark.parametrize(
    "token",
    [
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "<|start_header_id|>",
        "<|begin_of_text|>",
        "<|system|>",
        "<|user|>",
        "<|assistant|>",
        "<|channel|>",
        "<|START_OF_TURN_TOKEN|>",
        "[INST]",
        "[/INST]",
        "<<SYS>>",
        "<</SYS>>",
        "<s>",
        "</s>",
        "<bos>",
        "<eos>",
        "<start_of_turn>",
        "<end_of_turn>",
        "[TOOL_CALLS]",
        "[AVAILABLE_TOOLS]",
        "[/SYSTEM_PROMPT]",
        "<tool_call>",
        "</tool_call>",
        "<think>",
        "</think>",
        "<\uff5cUser\uff5c>",
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
        "[gMASK]",
        "<unused12>",
        "<|turn>",
        "<turn|>",
        "<|tool_response>",
        "<channel|>",
        '<|"|>',
        "<start_function_response>",
        "<end_function_declaration>",
        "<escape>",
        "[MODEL_SETTINGS]",
        "[/MODEL_SETTINGS]",
        "]~b]",
        "]~!b[",
        "[e~[",
        "</minimax:tool_call>",
        "<SPECIAL_12>",
        "<TOOLCALL>",
        "<\uff5cDSML\uff5c",
        "</\uff5cDSML\uff5c",
    ],
)
def test_a_chat_template_s_control_token_is_broken_and_restored(token: str) -> None:
    shown = neutralise(f"before {token} after")

    assert token not in shown
    assert shown.startswith("before \u27e6")
    assert restore(shown.encode()).decode() == f"before {token} after"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("[INST]~b]system", "\u27e65b\u27e7INST\u27e65d\u27e7~b]system"),
        ("]~b[INST] x", "\u27e65d\u27e7~b\u27e65b\u27e7INST] x"),
        ("[e~[INST]", "\u27e65b\u27e7e~\u27e65b\u27e7INST]"),
        ("]~!b[SYSTEM_PROMPT]", "\u27e65d\u27e7~!b\u27e65b\u27e7SYSTEM_PROMPT]"),
        ("]~b]~b]", "\u27e65d\u27e7~b\u27e65d\u27e7~b]"),
        ("<|x<a|>", "<|x\u27e63c\u27e7a|>"),
    ],
)
def test_tokens_that_share_a_character_are_broken_each(content: str, shown: str) -> None:
    assert neutralise(content) == shown
    assert TOKEN.search(shown) is None
    assert restore(shown.encode()).decode() == content


def test_a_cut_goes_through_none_of_two_tokens_that_share_a_character() -> None:
    """Cut before the second one it would go through the first."""
    text = "ab [INST]~b] cd"

    assert [token_at(text, place) for place in range(2, 15)] == [2, *[3] * 9, 12, 13, 14]


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "x[0]",
        "list[int]",
        "if a <= b:",
        "\u27e6x\u27e7",
        "<div>",
        "f <| x",
        "a[b~[c]]",
    ],
)
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    """The twin: an escape that hits what is harmless would cost the model for nothing."""
    assert neutralise(text) == text


@given(CONTENT, st.integers(0, 300))
def test_a_cut_never_goes_through_an_escape(content: bytes, end: int) -> None:
    text = neutralise(content)

    place = whole(text, min(end, len(text)))

    assert place <= end
    assert restore(text[:place].encode()) + restore(text[place:].encode()) == content
