"""A client on stdin and stdout that is silent, does not read, or says what is no message: real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, cast

import pytest

from agent_runner.mcp.peers import LARGEST_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

WAIT_SECONDS: Final = 120.0
POLICY: Final = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"]}\n'
HELLO: Final = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "x", "version": "1"},
}


class Client:
    """A client, one line at a time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.input = cast("IO[bytes]", process.stdin)
        self.output = cast("IO[bytes]", process.stdout)

    def write(self, line: bytes) -> None:
        """Send a line."""
        self.input.write(line + b"\n")
        self.input.flush()

    def say(self, method: str, **fields: Any) -> None:
        """Send a message."""
        self.write(json.dumps({"jsonrpc": "2.0", "method": method, **fields}).encode())

    def heard(self) -> Any:
        """Return the next message."""
        return json.loads(self.output.readline())

    def ended(self) -> tuple[int, bytes]:
        """Return the code, once it has ended by itself, and what it said on stderr."""
        code = self.process.wait(WAIT_SECONDS)
        return code, cast("IO[bytes]", self.process.stderr).read()


@contextmanager
def connected(folder: Path, *, blocking: bool = True) -> Iterator[Client]:
    """Start the server and greet it; no session begins before the first call."""
    (folder / "workspace").mkdir()
    (folder / "policy.yaml").write_text(POLICY)
    words = [
        "tools",
        "mcp",
        "--policy",
        str(folder / "policy.yaml"),
        "--workspace",
        str(folder / "workspace"),
    ]
    begin = "" if blocking else "import os; os.set_blocking(0, False); os.set_blocking(1, False); "
    begin += "import runpy; runpy.run_module('agent_runner', run_name='__main__', alter_sys=True)"
    with started(
        [sys.executable, "-c", begin, *words], {**os.environ, "PAIRLOCK_STATE": str(folder / "state")}
    ) as client:
        yield client


@contextmanager
def started(words: list[str], environment: Mapping[str, str], name: str = "pairlock") -> Iterator[Client]:
    """Start a server and greet it."""
    with subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        client = Client(process)
        late = threading.Timer(WAIT_SECONDS, process.kill)  # what is waited for then ends, and the test fails
        late.start()
        try:
            client.say("initialize", id=0, params=HELLO)
            assert client.heard()["result"]["serverInfo"]["name"] == name
            client.say("notifications/initialized")
            yield client
        finally:
            late.cancel()
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_while_the_client_says_nothing(tmp_path: Path, number: int) -> None:
    with connected(tmp_path) as client:
        client.process.send_signal(number)

        assert client.ended() == (130, b"")


@pytest.mark.parametrize("by_signal", [True, False])
def test_a_client_that_does_not_read_holds_up_no_end(tmp_path: Path, *, by_signal: bool) -> None:
    with connected(tmp_path) as client:
        for number in range(200):  # more than a pipe holds
            client.say("tools/list", id=number)
        if by_signal:
            client.process.terminate()
        else:
            client.input.close()

        assert client.ended() == (130 if by_signal else 0, b"")


def test_a_client_that_can_no_longer_be_answered_has_gone(tmp_path: Path) -> None:
    with connected(tmp_path) as client:
        client.output.close()
        client.say("ping", id=1)

        assert client.ended() == (0, b"")


@pytest.mark.parametrize(
    ("line", "code", "why"),
    [
        (b"\xff\xfe{", -32700, "no message of JSON-RPC"),
        (b"null", -32700, "no message of JSON-RPC"),
        (b"{" * 100_000, -32700, "no message of JSON-RPC"),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', -32600, "no batches"),
        (b"x" * (LARGEST_MESSAGE_BYTES + 2), -32600, f"at most {LARGEST_MESSAGE_BYTES} bytes"),
    ],
)
def test_what_is_no_message_is_answered_as_such_and_the_next_is_served(
    tmp_path: Path, line: bytes, code: int, why: str
) -> None:
    """A client would wait for ever for the answers to a batch, which the revision of 2025-03-26 has."""
    with connected(tmp_path) as client:
        client.write(line)
        refused = client.heard()
        client.write(b"")
        client.say("ping", id="after")

        assert (refused["id"], refused["error"]["code"]) == (None, code)
        assert why in refused["error"]["message"]
        assert client.heard() == {"jsonrpc": "2.0", "id": "after", "result": {}}
        client.input.close()
        assert client.ended() == (0, b"")


def test_a_client_whose_pipes_do_not_block_is_served_to_its_end(tmp_path: Path) -> None:
    """Whoever started the server may share them with a program that set them so."""
    with connected(tmp_path, blocking=False) as client:
        for number in range(200):  # more than a pipe holds
            client.say("tools/list", id=number)
        time.sleep(1)  # meanwhile nothing can be written, and then nothing read
        answered = [client.heard()["id"] for _ in range(200)]
        client.say("ping", id="after")

        assert answered == list(range(200))
        assert client.heard() == {"jsonrpc": "2.0", "id": "after", "result": {}}
        client.input.close()
        assert client.ended() == (0, b"")


@pytest.mark.parametrize("end", [b"\n", b""])
def test_what_was_asked_before_the_end_is_answered(tmp_path: Path, end: bytes) -> None:
    """A script that pipes its requests in closes stdin at once, and its last line may have no end."""
    with connected(tmp_path) as client:
        client.say("tools/list", id=1)
        client.input.write(b'{"jsonrpc": "2.0", "id": "last", "method": "ping"}' + end)
        client.input.close()

        assert {client.heard()["id"], client.heard()["id"]} == {1, "last"}
        assert client.ended() == (0, b"")


SLOW: Final = """
import asyncio, sys
from mcp import types
from mcp.server.lowlevel import Server
from agent_runner.cli.interrupting import interruptible
from agent_runner.mcp import standard
from agent_runner.mcp.serving import Callers, serve_stdio

standard.ANSWER_SECONDS = 10_000.0


class Slow:
    async def leave(self):
        try:
            await asyncio.sleep(float(sys.argv[1]))
            print("in order", file=sys.stderr)
        except asyncio.CancelledError:
            print("interrupted", file=sys.stderr)


async def list_tools(*_):
    return types.ListToolsResult(tools=[])


async def call_tool(*_):
    callers.of("")
    print("called", file=sys.stderr, flush=True)
    await asyncio.Event().wait()


callers = Callers(Slow, lambda _: None)
server = Server("slow", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
interruptible(serve_stdio(server, callers))
"""
"""A server whose one call has no end, nor has what its session does when that is to end."""


@contextmanager
def calling(seconds: float) -> Iterator[Client]:
    """Start a server that is slow, greet it, and make a call that has begun."""
    with started([sys.executable, "-c", SLOW, str(seconds)], os.environ, "slow") as client:
        client.say("tools/call", id=1, params={"name": "x"})
        assert cast("IO[bytes]", client.process.stderr).readline() == b"called\n"
        yield client


def test_a_request_that_was_taken_back_is_not_waited_for() -> None:
    """The library never answers it; the one before it is still answered."""
    with calling(0) as client:
        client.say("tools/list", id="before")
        client.say("notifications/cancelled", params={"requestId": 1})
        client.input.close()

        assert client.heard()["id"] == "before"
        assert client.ended() == (0, b"in order\n")


@pytest.mark.parametrize("stdin_ends", [True, False])
def test_a_signal_after_the_end_of_stdin_interrupts_what_is_under_way(*, stdin_ends: bool) -> None:
    """A client closes stdin, sends SIGTERM seconds later and then SIGKILL; a signal alone ends in order."""
    with calling(10_000 if stdin_ends else 0.5) as client:
        if stdin_ends:
            client.input.close()
            time.sleep(1)  # nothing tells that it was seen
        client.process.terminate()

        assert client.ended() == (130, b"interrupted\n" if stdin_ends else b"in order\n")
