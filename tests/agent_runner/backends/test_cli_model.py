"""`pairlock model list` shows what is configured; `pairlock model check` says what a server can do."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.contract.model_server import Asked, Line, Saying, answer, serving

CHECKOUT = Path(__file__).resolve().parents[3]
SECRET = "sk-secret-0123456789"  # noqa: S105 - a made-up key
LISTING = {"object": "list", "data": [{"id": "m", "object": "model", "max_model_len": 32768}]}


async def pairlock(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Run pairlock and return its code and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agent_runner",
        *arguments,
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(CHECKOUT), "K": SECRET},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 300)
    assert b"Traceback" not in err
    assert b"fault of pairlock's own" not in err
    assert SECRET.encode() not in out + err
    return process.returncode or 0, out.decode(), err.decode()


def configure(home: Path, models: str) -> None:
    """Write the operator's configuration."""
    folder = home / ".config" / "pairlock"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(f"version: 1\nmodels:\n{models}")


def reporting(call: Saying, listing: object = LISTING, status: int = 200) -> Any:
    """Return a play of a server that lists models, answers, and then makes this call."""
    chats = 0

    async def play(line: Line, asked: Asked) -> None:
        nonlocal chats
        if asked.method == "GET":
            await answer(status, listing)(line, asked)
            return
        chats += 1
        await (Saying(text="ready", cached=0) if chats == 1 else call).play("chat")(line, asked)

    return play


RIGHT = Saying(calls=[("c", "report", '{"word": "ready"}')], sent=3000, cached=2900)
MODEL = "  m1: {{backend: openai, model: m, base_url: '{url}', key: {{env: K}}, attempts: 1{more}}}\n"


async def test_a_server_that_can_do_all_is_said_to(tmp_path: Path) -> None:
    async with serving(reporting(RIGHT)) as server:
        configure(tmp_path, MODEL.format(url=server.base_url("chat"), more=", price: {input: 1, output: 2}"))
        code, out, err = await pairlock(tmp_path, "model", "check", "m1")

    lines = [line.split(None, 2) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert lines[0] == ["m1", "(m)"]
    assert lines[1:3] == [["listed", "yes", "`m`"], ["context", "yes", "32768 tokens"]]
    assert lines[3][:2] == ["answers", "yes"]
    assert lines[4][:2] == ["streams", "yes"]
    assert lines[5] == ["counts", "yes", "100 tokens in, 7 out"]
    assert lines[6] == ["tools", "yes", "called as asked"]
    assert lines[7][1:] == ["prefix", "yes      2900 of 3000 tokens came from its cache the second time"]
    assert lines[8] == ["cost", "0.0031", "USD for the questions of this check"]


async def test_a_model_that_calls_no_tool_is_exit_1(tmp_path: Path) -> None:
    wrong = Saying(calls=[("c", "report", '{"word": "other"}')])
    for saying, words in ((Saying(text="ready"), "no call; it said: ready"), (wrong, "called otherwise")):
        async with serving(reporting(saying, listing="nothing here", status=404)) as server:
            configure(tmp_path, MODEL.format(url=server.base_url("chat"), more=""))
            code, out, _ = await pairlock(tmp_path, "model", "check", "m1", "--json")

        found = {each["name"]: each for each in json.loads(out)}
        assert code == 1
        assert (found["tools"]["standing"], found["listed"]["standing"]) == ("no", "unknown")
        assert words in found["tools"]["text"]


async def test_a_server_that_is_not_there_is_exit_7(tmp_path: Path) -> None:
    async with serving(answer(200, "")) as server:
        pass
    configure(tmp_path, MODEL.format(url=server.base_url("chat"), more=""))

    code, out, err = await pairlock(tmp_path, "model", "check", "m1")

    assert code == 7
    assert err.startswith(f"pairlock: `127.0.0.1:{server.port}` cannot be reached")
    assert "hint: is the server up?" in err
    assert out == "m1 (m)\n"


async def test_json_tells_what_was_found_before_the_server_failed(tmp_path: Path) -> None:
    async def play(line: Line, asked: Asked) -> None:
        answered = answer(200, LISTING) if asked.method == "GET" else answer(401, {"detail": "who are you"})
        await answered(line, asked)

    async with serving(play) as server:
        configure(tmp_path, MODEL.format(url=server.base_url("chat"), more=""))
        code, out, err = await pairlock(tmp_path, "model", "check", "m1", "--json")

    assert code == 7
    assert [(each["name"], each["standing"]) for each in json.loads(out)] == [
        *(("listed", "yes"), ("context", "yes"), ("answers", "no"))
    ]
    assert err.splitlines()[1].startswith("hint: the server does not accept the key")


async def test_each_model_of_a_route_is_checked_though_one_fails(tmp_path: Path) -> None:
    dead = MODEL.format(url="http://127.0.0.1:1/v1", more="")
    async with serving(reporting(RIGHT)) as server:
        alive = MODEL.format(url=server.base_url("chat"), more="").replace("m1", "m2")
        configure(tmp_path, dead + alive + "  both: {backend: route, models: [m1, m2]}\n")
        code, out, err = await pairlock(tmp_path, "model", "check", "both", "--json")

    found = {(each["model"], each["name"]): each["standing"] for each in json.loads(out)}
    assert code == 7
    assert "`127.0.0.1:1` cannot be reached" in err
    assert (found["m1 (m)", "answers"], found["m2 (m)", "tools"]) == ("no", "yes")


async def test_each_model_of_a_route_that_does_not_answer_is_told_in_its_place(tmp_path: Path) -> None:
    """The exit tells of the last one only."""
    models = "".join(
        MODEL.format(url=f"http://127.0.0.1:{n}/v1", more="").replace("m1", f"m{n}") for n in (1, 2)
    )
    configure(tmp_path, models + "  both: {backend: route, models: [m1, m2]}\n")

    code, out, err = await pairlock(tmp_path, "model", "check", "both")

    assert (code, err.count("cannot be reached")) == (7, 1)
    for number in (1, 2):
        assert f"`127.0.0.1:{number}` cannot be reached" in " ".join(out.split())


async def test_a_name_that_is_not_served_is_told_beside_those_that_look_like_it(tmp_path: Path) -> None:
    served = [{"id": name} for name in ("llama", "qwen3-32b", "zephyr", "a", "b", "c", "m-large")]
    async with serving(reporting(RIGHT, listing={"data": served})) as server:
        block = MODEL.format(url=server.base_url("chat"), more="").replace("model: m,", "model: qwen-3-32b,")
        configure(tmp_path, block)
        _, out, _ = await pairlock(tmp_path, "model", "check", "m1")

    told = out.splitlines()[1].split(None, 2)
    assert told == ["listed", "no", "`qwen-3-32b` is not among: qwen3-32b, llama, zephyr, a, b, and 2 more"]


async def test_the_list_shows_keys_by_reference(tmp_path: Path) -> None:
    configure(
        tmp_path, MODEL.format(url="http://127.0.0.1:1/v1", more="") + "  s: {backend: scripted, script: s}\n"
    )

    code, out, _ = await pairlock(tmp_path, "model", "list")
    _, as_json, _ = await pairlock(tmp_path, "model", "list", "--json")

    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["m1", "openai", "m", "http://127.0.0.1:1/v1", "key:", "environment", "variable", "K"],
        ["s", "scripted", "s"],
    ]
    assert json.loads(as_json)["m1"]["key"] == "environment variable K"


async def test_what_cannot_be_checked_is_exit_2(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("version: 1\nturns: [{}]\n")

    for name, words in (
        ("scripted:s.yaml", "has no server"),
        ("nobody", "no model `nobody`"),
        ("openai:x", "names"),
    ):
        code, _, err = await pairlock(tmp_path, "model", "check", name)
        assert code == 2
        assert words in err.splitlines()[0]


async def test_a_hostile_listing_is_shown_escaped(tmp_path: Path) -> None:
    listing = {"data": [{"id": "\x1b[2J\u202e" + "x" * 9000}, {"id": {"a": 1}}, 7, None]}
    async with serving(reporting(RIGHT, listing=listing)) as server:
        configure(tmp_path, MODEL.format(url=server.base_url("chat"), more=""))
        _, out, _ = await pairlock(tmp_path, "model", "check", "m1")

    assert "\x1b" not in out
    assert "\u202e" not in out
    assert max(map(len, out.splitlines())) < 500
