"""Who answers a question and is killed or stopped in the middle of it costs nobody else anything."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner import door
from agent_runner.door import socket_path, tell
from agent_runner.errors import InvalidInputError, MuteRunnerError
from agent_runner.webhook import ConfiguredApprovals, WebhookAsker, signed_answer
from audit.verify import verify_session
from policies.units import Seconds
from tests.agent_runner.reachable import LONG
from tests.agent_runner.stand import SESSION
from tests.agent_runner.test_attaching import attached
from tests.agent_runner.test_webhook import KEY, PUBLIC, QUESTION, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.agent_runner.stand import Stand

SAYS = """\
import socket, sys, time
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
line.sendall(sys.argv[2].encode())
print("said", flush=True)
time.sleep(600)
"""


pytestmark = pytest.mark.usefixtures("runtime")


def question_of(number: int) -> dict[str, Any]:
    """Return the question about an action, once it waits."""
    deadline = time.monotonic() + LONG
    while True:
        question = tell(SESSION, do="status")["question"]
        if isinstance(question, dict) and question["action"] == f"{SESSION}/{number}":
            return question
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answer(word: str, number: int) -> None:
    """Answer a question from this terminal."""
    question = question_of(number)
    tell(SESSION, do=word, action=question["action"], digest=question["digest"])


def spelled(word: str, number: int) -> str:
    """Return the line that `pairlock approve` or `deny` says."""
    question = question_of(number)
    said = {"version": 1, "do": word, "action": question["action"], "digest": question["digest"]}
    return json.dumps(said) + "\n"


@contextmanager
def saying(text: str) -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that has said something at the socket, and nothing since."""
    command = [sys.executable, "-I", "-S", "-c", SAYS, str(socket_path(SESSION)), text]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"said\n"
            yield process
        finally:
            process.kill()


def answers(stand: Stand) -> list[tuple[str, str]]:
    """Return what the ledger has of the answers."""
    return [(entry["answer"], entry["via"]) for entry in stand.entries("approval.answered")]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_half_an_answer_is_none_and_keeps_nobody_from_answering(
    stand: Stand, asking: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    """Killed or stopped between two bytes of `approve`; the session's end does not wait for it either."""
    with saying(spelled("approve", 1)[:-20]) as half:
        half.send_signal(number)
        answer("deny", 1)
        answer("deny", 2)

        assert asking.wait(LONG) == 0

    assert answers(stand) == [("denied", "socket")] * 2
    assert sorted(path.name for path in stand.folder.iterdir()) == ["a", "b c"]
    assert verify_session(stand.state, SESSION).faults() == {}


def test_an_answer_whose_giver_is_killed_before_he_hears_of_it_counts_once(
    stand: Stand, asking: subprocess.Popen[bytes]
) -> None:
    """It was given; given again, for an action that waits no more, it is refused."""
    said = spelled("approve", 1)
    with saying(said) as giver:
        giver.kill()
    again = {name: value for name, value in json.loads(said).items() if name != "version"}
    question_of(2)
    with pytest.raises(InvalidInputError, match=f"what waits is another action, `{SESSION}/2`"):
        tell(SESSION, **again)
    answer("deny", 2)

    assert asking.wait(LONG) == 0
    assert answers(stand) == [("approved", "socket"), ("denied", "socket")]
    assert sorted(path.name for path in stand.folder.iterdir()) == ["b c"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_one_who_is_attached_to_answer_and_killed_leaves_the_question_to_the_others(
    stand: Stand, asking: subprocess.Popen[bytes], runtime: Path, number: signal.Signals
) -> None:
    """With the question on its screen and half of `yes` typed."""
    with attached(stand, runtime, "--answer") as one:
        one.until("type yes to allow it once")
        one.type("ye")
        one.process.send_signal(number)
        answer("approve", 1)
        answer("deny", 2)

        assert asking.wait(LONG) == 0

    assert answers(stand) == [("approved", "socket"), ("denied", "socket")]


def test_an_answer_to_a_runner_that_is_stopped_has_no_reply_and_counts_when_it_goes_on(
    stand: Stand, asking: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel keeps what was said; it is an answer to that action still, and to no other."""
    question = question_of(1)
    asking.send_signal(signal.SIGSTOP)
    try:
        with monkeypatch.context() as impatient:
            impatient.setattr(door, "_ANSWER_SECONDS", 0.5)
            with pytest.raises(MuteRunnerError):
                tell(SESSION, do="approve", action=question["action"], digest=question["digest"])
    finally:
        asking.send_signal(signal.SIGCONT)
    answer("deny", 2)

    assert asking.wait(LONG) == 0
    assert answers(stand) == [("approved", "socket"), ("denied", "socket")]


class Webhook:
    """A server of answers that a test kills in the middle of each.

    Args:
        cut: After how many bytes of each reply, in order, it falls; a reply behind them is whole.
    """

    def __init__(self, *cut: int) -> None:
        self._cut = list(cut)
        self.asked: list[dict[str, Any]] = []
        self.fetched = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ConfiguredApprovals]:
        """Serve on loopback."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as server:
            at = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield ConfiguredApprovals(ask=f"{at}/q", answers=f"{at}/a", public_key=PUBLIC, wait=Seconds(30))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            body = b""
            if head.startswith("POST"):
                length = next(
                    line for line in head.lower().split("\r\n") if line.startswith("content-length")
                )
                self.asked.append(json.loads(await reader.readexactly(int(length.split(":")[1]))))
            else:
                self.fetched += 1
                body = signed_answer(self.asked[-1], "approved", by="ada", key=KEY)
            reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
            cut = self._cut.pop(0) if self._cut else len(reply)
            writer.write(reply[:cut])
            await writer.drain()
        writer.transport.abort() if cut < len(reply) else writer.close()


async def test_a_webhooks_server_that_is_killed_in_mid_answer_has_given_none() -> None:
    """Asked again from the beginning; a question whose receipt was cut off is posted once more."""
    webhook = Webhook(0, 20, 10_000, 0, 30, 200)
    async with webhook.serving() as configured:
        said = await asyncio.wait_for(WebhookAsker(configured=configured, sleep=soon).ask(QUESTION), LONG)

    assert (said.verdict, said.via, webhook.fetched) == ("approved", "webhook", 4)
    assert len({shown["number"] for shown in webhook.asked}) == 1


async def test_a_webhooks_server_that_is_stopped_holds_up_nobody_beyond_the_questions_time() -> None:
    """The kernel takes the connection for it, and nothing comes."""
    with socket.create_server(("127.0.0.1", 0)) as stopped:
        at = f"http://127.0.0.1:{stopped.getsockname()[1]}"
        configured = ConfiguredApprovals(ask=f"{at}/q", answers=f"{at}/a", public_key=PUBLIC, wait=Seconds(1))
        said = await asyncio.wait_for(WebhookAsker(configured=configured, sleep=soon).ask(QUESTION), LONG)

    assert (said.verdict, said.via) == ("timed_out", "clock")
