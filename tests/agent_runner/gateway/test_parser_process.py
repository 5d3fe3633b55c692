"""What reads an agent's requests is a process of its own: without key, network or state, and not believed."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from agent_runner.backends.backend import (
    Call,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    Usage,
    UserMessage,
)
from agent_runner.gateway import parsing
from agent_runner.gateway.asked import Asked
from agent_runner.gateway.crossing import question_bytes, question_of, reply_bytes, reply_of
from agent_runner.gateway.parsing import Parsing
from cli_tools.action import ToolProposal
from cli_tools.schema import Tool
from sandbox.egress.errors import GateLostError
from sandbox.egress.process import EgressProcess
from sandbox.egress.wire import WireError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHECKOUT = Path(__file__).resolve().parents[3]
LIST = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
ASK = {"model": "main", "messages": [{"role": "user", "content": "hello"}]}
WAIT_SECONDS = 60.0


class Noted:
    """Keep what is asked, and answer; `book.Book`, as far as the process is concerned."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.given_up = 0
        self.hangs = False

    async def ask(self, _: object, asked: Asked, __: object = None) -> Reply:
        """Answer, or never."""
        self.asked.append(asked)
        if self.hangs:
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up += 1
        return Reply(text="hi", usage=Usage(input_tokens=3, output_tokens=2, cached_tokens=1))


async def said_to(parser: Parsing, request: bytes) -> bytes:
    """Send one connection's bytes and return all that comes back."""
    got = bytearray()

    async def received() -> AsyncIterator[bytes]:
        yield request
        await asyncio.Event().wait()

    async def send(data: bytes) -> None:
        got.extend(data)

    await asyncio.wait_for(parser(received(), send, lambda: None), WAIT_SECONDS)
    return bytes(got)


def post(body: object) -> bytes:
    """Return a request that closes its connection."""
    raw = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(raw)}"
    return head.encode() + b"\r\n\r\n" + raw


def parsing_for(book: Noted, *names: str) -> Parsing:
    """Return a parser whose questions come to a book."""
    return Parsing(dict.fromkeys(names or ("main",), cast("Any", object())), cast("Any", book))


async def test_it_starts_with_the_first_connection_and_ends_with_the_session() -> None:
    book = Noted()
    parser = parsing_for(book)
    before = parser.pid

    answered = await said_to(parser, post(ASK))
    pid = parser.pid
    await parser.close()

    assert before is None
    assert answered.startswith(b"HTTP/1.1 200 ")
    assert b'"content": "hi"' in answered
    assert [asked.messages for asked in book.asked] == [(UserMessage(text="hello"),)]
    assert pid is not None
    assert await asyncio.to_thread(_ends, pid)


async def test_a_question_that_the_runner_fails_is_answered_so_and_prints_no_traceback() -> None:
    class Failing(Noted):
        async def ask(self, _: object, asked: Asked, __: object = None) -> Reply:
            raise LookupError(asked.model)

    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    parser = parsing_for(Failing())

    answered = await said_to(parser, post(ASK))
    await parser.close()
    gc.collect()

    assert answered.startswith(b"HTTP/1.1 500 ")
    assert told == []


async def test_taken_over_it_reaches_no_network_no_state_and_no_program(tmp_path: Path) -> None:
    """Each attempt succeeds just before the process locks itself down: what stops it is the lock."""
    (tmp_path / "host.key").write_bytes(b"secret")
    process = await EgressProcess.start(module="tests.agent_runner.gateway.confined_probe")
    process._writer.write(str(tmp_path).encode())

    before, after = json.loads(await process.last_words())
    process.kill()
    await process._process.wait()
    await process.close()

    assert before == dict.fromkeys(before, "done")
    assert after == {**dict.fromkeys(before, "PermissionError"), "pair": "done"}


FORGED: dict[str, list[tuple[object, object]]] = {
    "another model": [({"kind": "asking", "id": 1}, {"model": "gpt-9", "messages": [], "tools": []})],
    "a field more": [({"kind": "asking", "id": 1}, {"model": "$", "messages": [], "tools": [], "url": "x"})],
    "a tool of the server's": [
        (
            {"kind": "asking", "id": 1},
            {"model": "$", "messages": [], "tools": [{"type": "web_search"}]},
        )
    ],
    "a message of another kind": [
        (
            {"kind": "asking", "id": 1},
            {"model": "$", "messages": [{"kind": "image", "url": "x"}], "tools": []},
        )
    ],
    "no message": [({"kind": "secret", "id": 1, "name": "key"}, "")],
    "no JSON": [("x", "x")],
    "an answer": [({"kind": "replied", "id": 1}, "")],
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_parser_that_says_anything_else_is_ended_and_asks_nobody(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsing, "MODULE", "tests.agent_runner.gateway.lying_parser")
    book = Noted()
    said = [[json.dumps(head), json.dumps(blob)] for head, blob in FORGED[name]]
    parser = parsing_for(book, json.dumps(said))

    process = await parser._running()
    assert parser._listener is not None
    await asyncio.wait_for(asyncio.wait({parser._listener}), WAIT_SECONDS)
    code = await process._process.wait()
    await parser.close()

    assert code == -signal.SIGKILL
    assert book.asked == []


async def test_one_that_ends_takes_its_questions_with_it_and_the_next_connection_has_another() -> None:
    book = Noted()
    parser = parsing_for(book)
    book.hangs = True
    asking = asyncio.create_task(said_to(parser, post(ASK)))
    async with asyncio.timeout(WAIT_SECONDS):
        while not book.asked:  # noqa: ASYNC110 - another process asks
            await asyncio.sleep(0.01)
    first = parser.pid
    assert first is not None

    os.kill(first, signal.SIGKILL)
    lost = await asking
    book.hangs = False
    answered = await said_to(parser, post(ASK))
    second = parser.pid
    await parser.close()

    assert lost == b""
    assert book.given_up == 1
    assert answered.startswith(b"HTTP/1.1 200 ")
    assert first != second


async def test_one_that_is_ended_again_and_again_is_not_started_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parsing, "MOST_STARTS", 2)
    parser = parsing_for(Noted())
    for _ in range(2):
        await said_to(parser, LIST)
        assert parser.pid is not None
        os.kill(parser.pid, signal.SIGKILL)
        assert parser._listener is not None
        await asyncio.wait({parser._listener})

    with pytest.raises(GateLostError, match="ended 2 times"):
        await said_to(parser, LIST)
    await parser.close()


HOLDS_ONE = """
import asyncio
from typing import Any, cast
from agent_runner.gateway.parsing import Parsing
async def main():
    parser = Parsing({"main": cast(Any, None)}, cast(Any, None))
    await parser._running()
    print(parser.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_it_dies_with_its_runner() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS_ONE], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stdout is not None
        pid = int(runner.stdout.readline())
        watched = os.pidfd_open(pid)
        runner.kill()
    try:
        signal.pidfd_send_signal(watched, 0)
        assert _ends(pid)
    except ProcessLookupError:
        pass
    finally:
        os.close(watched)


def _ends(pid: int) -> bool:
    deadline = time.monotonic() + WAIT_SECONDS
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


TALK = (
    SystemMessage(text="S"),
    UserMessage(text="U\0\u202e"),
    ModelMessage(
        reply=Reply(
            text="M", calls=(Call(call_id="1", proposal=ToolProposal(tool="t", arguments='{"a": 1}')),)
        )
    ),
    ObservationMessage(call_id="1", text="R", refused=True),
)


def test_what_crosses_arrives_as_it_was() -> None:
    asked = Asked(
        model="main",
        messages=TALK,
        tools=(Tool(name="t", description="d", parameters={"type": "object", "properties": {}}),),
    )
    reply = Reply(text="x", calls=TALK[2].reply.calls, usage=Usage(input_tokens=5, cached_tokens=2))

    assert question_of(question_bytes(asked)) == asked
    assert reply_of(reply_bytes(reply)) == reply


def test_half_of_a_pair_crosses_as_an_escape() -> None:
    asked = Asked(model="main", messages=(UserMessage(text="a\ud800"),))

    assert question_of(question_bytes(asked)).messages == (UserMessage(text="a\\ud800"),)


@pytest.mark.parametrize("depth", [500, 100_000])
def test_a_question_that_is_nested_deeply_is_none(depth: int) -> None:
    tool = '{"name": "t", "description": "", "parameters": {"a": ' + "[" * depth + "]" * depth + "}}"
    blob = f'{{"model": "main", "messages": [], "tools": [{tool}]}}'.encode()

    with pytest.raises(WireError):
        question_of(blob)
