"""What a server has cached of a session stays valid over a resume: the same bytes, whatever was said."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent_runner import models
from agent_runner.budget_limits import NOTHING
from tests.agent_runner.hostile_replies import CALLS, said
from tests.contract.asking import backend_for
from tests.contract.model_server import Asked, Dialect, Saying, answer, data, event, serving, stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.contract.model_server import Line

    Play = Callable[[Line, Asked], Awaitable[None]]
    from tests.agent_runner.stand import Stand

POLICY = (
    'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\n'
    "budget: {turns: 500, tokens: 1000M}\n"
)
FINISH = Saying(calls=[("f", "finish", '{"status": "done", "summary": "ok"}')])
SAID = [
    Saying(text="I look.", calls=[("c", "files_list", "{}"), ("c", "files_read", '{"path": "a"}')]),
    Saying(calls=[("c", "files_write", '{"path": "b", "content": "\\u00e9\\u2028\\r\\n\\ud83d\\ude00"}')]),
    *(said(name) for name in CALLS if "mebibyte" not in name and "MiB" not in name),
    Saying(text=" \n", calls=[("", "files_list", "")]),
    Saying(text="\u202e\x1b[2J\x00\ufeff", calls=[("e", "files_read", '{"path": "gone"}')]),
]


def words(request: Asked) -> bytes:
    """Return the messages of a request as they were sent, without the bracket at their end."""
    sent = json.dumps(request.json["messages"], separators=(",", ":"), ensure_ascii=False).encode()
    assert sent in request.body
    return sent[:-1]


def around(request: Asked) -> str:
    """Return all else of it."""
    return json.dumps({name: value for name, value in request.json.items() if name != "messages"})


@pytest.mark.parametrize("dialect", ["chat", "messages"])
async def test_a_question_after_a_resume_begins_with_the_bytes_of_the_one_before(
    stand: Stand, dialect: Dialect
) -> None:
    """The second backend is as another process makes it; marks, tools and system text stay."""
    (stand.folder / "a").write_text("<|im_start|>system\x1b\n")
    down = answer(401, {"error": {"message": "no"}})
    plays = [*(each.play(dialect) for each in SAID), down, FINISH.play(dialect)]
    async with serving(*plays) as server:
        first, second = backend_for(server, dialect), backend_for(server, dialect)
        ended = await stand.run(first, POLICY)
        await first.close()
        result = await stand.resume(second)
        await second.close()

    before, after = server.asked[-2:]
    assert (ended.status, result.status, len(server.asked)) == ("model_failed", "done", len(SAID) + 2)
    assert words(after).startswith(words(before))
    assert len(after.body) > len(before.body)
    assert around(after) == around(before)


SECRET = "value-of-the-operator"  # noqa: S105 - made up
NETWORK = (
    "version: 1\nname: x\ngrant: [files, network]\n"
    "network: {allow: [{host: api.example.com, credential: github}]}\n"
    'commands: {allow: ["files *"]}\n'
)


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure the one credential of `NETWORK`."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "version: 1\ncredentials:\n  github: {env: OPERATORS_TOKEN, hosts: [api.example.com]}\n"
    )
    monkeypatch.setattr(models, "configuration_path", lambda: config)
    monkeypatch.setenv("OPERATORS_TOKEN", SECRET)


def thinking(thought: str, sealed: str, text: str, call: str, path: str) -> str:
    """Return a reply's events, as Anthropic's API tells them: a thought, words and a call."""
    blocks: list[dict[str, object]] = [
        {"type": "thinking", "thinking": thought, "signature": sealed},
        {"type": "text", "text": text},
        {
            "type": "tool_use",
            "id": call,
            "name": "files_write",
            "input": {"path": path, "content": f"{SECRET} x"},
        },
    ]
    begin = [event({"type": "message_start", "message": {"usage": {"input_tokens": 9}}})]
    told = [
        event({"type": "content_block_start", "index": place, "content_block": block})
        for place, block in enumerate(blocks)
    ]
    end = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}}
    return "".join([*begin, *told, event(end), event({"type": "message_stop"})])


def reasoning(text: str) -> str:
    """Return a reply's chunks, as DeepSeek and Kimi tell what they thought."""
    delta = {"reasoning_content": text}
    return data({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


def wants_reasoning(play: Play) -> Play:
    """Return a play that first refuses each conversation without what the model thought."""

    async def strict(line: Line, heard: Asked) -> None:
        said = [each for each in heard.json["messages"] if each["role"] == "assistant"]
        if all(each.get("reasoning_content") for each in said):
            await play(line, heard)
        else:
            await answer(400, {"error": {"message": "`reasoning_content` must be passed back"}})(line, heard)

    return strict


@pytest.mark.usefixtures("known")
async def test_sealed_thoughts_and_a_secret_that_the_model_said_are_the_same_after_a_resume(
    stand: Stand,
) -> None:
    """What it wrote is what it meant; a thought, or a text before one, that held the secret has no seal."""
    plays = [
        stream(thinking("Look.", "sig+whole==", "I write.", "c1", "a")),
        stream(thinking(f"It is {SECRET}.", "sig+held==", "I write.", "c2", "b")),
        stream(thinking("Again.", "sig+moved==", f"It is {SECRET}.", "c3", "c")),
    ]
    down = answer(401, {"error": {"message": "no"}})
    async with serving(*plays, down, FINISH.play("messages")) as server:
        first, second = backend_for(server, "messages"), backend_for(server, "messages")
        ended = await stand.run(first, NETWORK)
        await first.close()
        result = await stand.resume(second)
        await second.close()

    before, after = server.asked[-2:]
    assert (ended.status, result.status, len(server.asked)) == ("model_failed", "done", 5)
    assert words(after).startswith(words(before))
    assert words(before).startswith(words(server.asked[2])), "nor did it change from one turn to the next"
    assert around(after) == around(before)
    assert [sig in after.body for sig in (b"sig+whole==", b"sig+held==", b"sig+moved==")] == [
        True,
        False,
        False,
    ]
    assert SECRET.encode() not in b"".join(asked.body for asked in server.asked)
    assert [(stand.folder / name).read_text() for name in "abc"] == [f"{SECRET} x"] * 3
    written = [path.read_bytes() for path in stand.state.rglob("*") if path.is_file()]
    assert SECRET.encode() not in b"".join(written)


@pytest.mark.usefixtures("known")
async def test_what_a_model_thought_is_sent_after_a_resume_as_before(stand: Stand) -> None:
    """To a server that asks for it, redacted in the same way."""
    written = '{"path": "a", "content": "' + SECRET + '"}'
    saying = Saying(text=f"I write {SECRET}.", calls=[("c1", "files_write", written)])
    thought = stream(reasoning(f"It is {SECRET}, \u2028 \u00e9."), *saying.pieces("chat"))
    down = answer(401, {"error": {"message": "no"}})
    finish = wants_reasoning(FINISH.play("chat"))
    async with serving(thought, wants_reasoning(down), down, finish) as server:
        first, second = backend_for(server, "chat"), backend_for(server, "chat")
        ended = await stand.run(first, NETWORK)
        await first.close()
        result = await stand.resume(second)
        await second.close()

    refused_without, before = server.asked[1:3]
    after = server.asked[-1]
    assert (ended.status, result.status) == ("model_failed", "done")
    assert b"reasoning_content" not in refused_without.body
    assert b"[secret:github:" in before.body
    assert words(after).startswith(words(before))
    assert SECRET.encode() not in b"".join(asked.body for asked in server.asked)
    assert (stand.folder / "a").read_text() == SECRET


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("secret", [SECRET, "another-of-the-operator"])
async def test_a_call_that_waited_is_not_run_with_what_stands_for_a_secret(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    """The model is told, asks again and has it; so it is where the secret is another one by now."""
    (stand.folder / SECRET).write_text("found")
    read = json.dumps({"path": SECRET})
    asks = Saying(calls=[("c1", "files_list", "{}"), ("c2", "files_read", read), ("c3", "files_list", "{}")])
    again = Saying(calls=[("c4", "files_read", read)])
    policy = NETWORK + "budget: {turns: 500, tokens: 1000M, actions: 1}\n"
    async with serving(*(each.play("chat") for each in (asks, again, FINISH))) as server:
        first, second = backend_for(server, "chat"), backend_for(server, "chat")
        ended = await stand.run(first, policy)
        await first.close()
        monkeypatch.setenv("OPERATORS_TOKEN", secret)
        result = await stand.resume(second, added=replace(NOTHING, actions=9))
        await second.close()

    told = [each for each in server.asked[1].json["messages"] if each["role"] == "tool"]
    assert (ended.status, result.status) == ("budget", "done")
    assert ["held a secret" in each["content"] for each in told] == [False, True, True]
    assert [entry["command"] for entry in stand.entries("action.intended")] == [
        "files list",
        "files read",
        "finish",
    ]
    assert "found" in server.asked[2].body.decode()


async def test_a_call_that_waited_and_held_no_secret_is_carried_out(stand: Stand) -> None:
    (stand.folder / "a").write_text("found")
    asks = Saying(calls=[("c1", "files_list", "{}"), ("c2", "files_read", '{"path": "a"}')])
    policy = POLICY.replace("turns: 500", "turns: 500, actions: 1")
    async with serving(asks.play("chat"), FINISH.play("chat")) as server:
        first, second = backend_for(server, "chat"), backend_for(server, "chat")
        await stand.run(first, policy)
        await first.close()
        result = await stand.resume(second, added=replace(NOTHING, actions=9))
        await second.close()

    assert result.status == "done"
    assert "found" in server.asked[1].body.decode()
