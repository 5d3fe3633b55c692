"""What the egress process says is taken and bounded, and its end is cleaned up whatever fails meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sandbox.egress.errors import GateLostError
from sandbox.egress.events import Decided
from sandbox.egress.last_words import KEPT_BYTES, LastWords
from sandbox.egress.owner import MOST_OPEN, MOST_OPEN_BYTES
from sandbox.egress.process import EgressProcess
from sandbox.egress.streams import Streams
from sandbox.egress.wire import (
    LONGEST_NAME,
    LONGEST_QUERY,
    ApprovalWanted,
    SecretWanted,
    WireError,
    to_parent,
)
from tests.sandbox.egress.ground import Server, gate_for, rule, rules, serving

if TYPE_CHECKING:
    from sandbox.egress.events import Event

ASKED = Decided(
    connection="c1", scheme="https", host="a.test", port=443, method="GET", path="/", verdict="denied"
)
CHATTY = "import sys; sys.stderr.write('word ' * 200_000 + 'the end'); sys.stderr.flush(); print('done')"


async def test_a_process_that_says_much_is_never_held_up_and_only_the_end_is_kept() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHATTY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout
    assert process.stderr
    words = LastWords(process.stderr)

    assert await asyncio.wait_for(process.stdout.read(), 60) == b"done\n"
    said = await words.said()
    await process.wait()

    assert said.endswith("word word the end")
    assert len(said) < KEPT_BYTES


class Failing:
    """A proxy with a fault."""

    served = 0

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, action: str = ""
    ) -> None:
        """Fail."""
        writer.transport.abort()
        self.served += 1
        raise ValueError(action or await reader.read())


async def test_a_fault_in_serving_one_connection_is_neither_printed_nor_the_end_of_others() -> None:
    said: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    proxy = Failing()
    streams = Streams(theirs, proxy)  # type: ignore[arg-type]
    with ours, theirs:
        streams.listen()
        for _ in range(3):
            near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            with near:
                with far:
                    socket.send_fds(ours, [b"s/1"], [far.fileno()])
                near.settimeout(30)
                assert await asyncio.to_thread(near.recv, 1) == b""
        await asyncio.gather(*streams.stop())

    assert proxy.served == 3
    assert said == []


async def test_a_ledger_that_fails_at_the_very_end_leaves_no_process_and_no_task() -> None:
    async def no_ends(event: Event) -> None:
        if not hasattr(event, "verdict"):
            raise OSError(28, "no space left")

    before = asyncio.all_tasks()
    waiting = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.set()
        await reader.read()
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    numbers: list[int] = []

    async def killed_while_it_asks() -> None:
        async with listening, gate_for(rules(rule("127.0.0.1", port)), journal=no_ends) as kept:
            numbers.append(kept.gate.pid)
            asking = asyncio.create_task(kept.gate.request("GET", f"http://127.0.0.1:{port}/"))
            await asyncio.wait_for(waiting.wait(), 60)
            os.kill(kept.gate.pid, 9)
            await asyncio.wait((asking,))
            assert isinstance(asking.exception(), GateLostError)

    with pytest.raises(OSError, match="no space left"):
        await killed_while_it_asks()

    with pytest.raises(ProcessLookupError):
        os.kill(numbers[0], 0)
    assert asyncio.all_tasks() <= before


async def test_a_gate_that_is_left_while_its_process_stands_still_ends_it() -> None:
    async with serving(Server()) as server:
        async with gate_for(rules(rule("127.0.0.1", server.port))) as kept:
            number = kept.gate.pid
            os.kill(number, signal.SIGSTOP)
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


@pytest.mark.parametrize("asking", ["flooding", "flooding_at_length"])
async def test_a_process_that_asks_without_reading_answers_is_ended(
    monkeypatch: pytest.MonkeyPatch, asking: str
) -> None:
    """Taken over, it would fill its runner's memory with what it asks and is told."""
    start = EgressProcess.start
    monkeypatch.setattr(EgressProcess, "start", partial(start, module=f"tests.sandbox.egress.{asking}"))

    async def absent(event: Decided, query: str) -> str:
        await asyncio.sleep(600)
        return f"nobody has looked at {len(event.path) + len(query)} characters"

    async with gate_for(rules(), approval=absent) as kept:
        for _ in range(600):
            if kept.gate.is_lost:
                break
            await asyncio.sleep(0.1)
        assert kept.gate.is_lost
        with pytest.raises(GateLostError, match="it asks more than it may"):
            await kept.gate.request("GET", "http://127.0.0.1/")
        asked, held = len(kept.gate._owner._tasks), kept.gate._owner._open_bytes

    assert asked <= MOST_OPEN
    assert held <= MOST_OPEN_BYTES
    assert kept.gate._owner._open_bytes == 0


@pytest.mark.parametrize(
    ("longest", "longer"),
    [
        (SecretWanted(id=1, name="x" * LONGEST_NAME), {"name": "x" * (LONGEST_NAME + 1)}),
        (ApprovalWanted(id=1, event=ASKED, query="x" * LONGEST_QUERY), {"query": "x" * (LONGEST_QUERY + 1)}),
    ],
)
def test_a_name_or_query_that_is_too_long_breaks_the_rules_of_the_pipe(
    longest: SecretWanted | ApprovalWanted, longer: dict[str, str]
) -> None:
    assert to_parent(longest.model_dump_json().encode()) == longest
    with pytest.raises(WireError):
        to_parent(longest.model_copy(update=longer).model_dump_json().encode())
