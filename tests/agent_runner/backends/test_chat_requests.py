"""What a question is over chat completions, where servers differ in what they take."""

from __future__ import annotations

import pytest

from agent_runner.backends.backend import Call, ModelMessage, Reply
from agent_runner.backends.chat_completions import chat_request
from agent_runner.backends.chat_wire import wire_message
from agent_runner.backends.server import Server
from cli_tools.action import ToolProposal

CALL = Call(call_id="c1", proposal=ToolProposal(tool="files_list", arguments="{}"))


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_reply_of_nothing_goes_back_as_a_text(text: str) -> None:
    """DeepSeek, Mistral and Kimi refuse a whole conversation for an assistant's message without any."""
    assert wire_message(ModelMessage(reply=Reply(text=text))) == {
        "role": "assistant",
        "content": "(nothing)",
    }


def test_a_reply_that_only_calls_goes_back_without_a_text() -> None:
    wire = wire_message(ModelMessage(reply=Reply(text="", calls=(CALL,))))

    assert (wire["content"], len(wire["tool_calls"])) == ("", 1)  # type: ignore[arg-type]  # a list, as was asked


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("https://eu.api.openai.com/v1", "max_completion_tokens"),
        ("https://api.openai.com:443/v1", "max_completion_tokens"),
        ("https://acme.openai.azure.com/openai/v1", "max_completion_tokens"),
        ("https://api.openai.com", "max_completion_tokens"),
        ("http://127.0.0.1:8000/v1", "max_tokens"),
        ("https://example.com/api.openai.com/v1", "max_tokens"),
        ("https://notapi.openai.com.example.com/v1", "max_tokens"),
        ("https://xapi.openai.com/v1", "max_tokens"),
    ],
)
def test_the_length_of_a_reply_has_the_name_that_the_server_knows(base_url: str, name: str) -> None:
    """OpenAI's reasoning models refuse the older name, in its regions and at Azure, too."""
    request = chat_request(Server(base_url=base_url, model="m", output_tokens=64), [], ())

    assert {key: value for key, value in request.items() if "tokens" in key} == {name: 64}
