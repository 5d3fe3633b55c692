"""Who subscribes to a session has its entries as they come, and none who does can hold it up."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.awake import Awake
from agent_runner.door import Door, socket_path, tell
from agent_runner.feed import MOST_SUBSCRIBERS, Feed
from audit.state import SessionFiles
from tests.agent_runner.reachable import LONG
from tests.agent_runner.stand import SESSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.agent_runner.stand import Stand

READER = "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
READER += (
    's.sendall(b\'{"version":1,"do":"subscribe"}\\n\'); print(len(s.recv(1)), flush=True); time.sleep(600)'
)


pytestmark = pytest.mark.usefixtures("runtime")


def subscribe(first: object = None) -> socket.socket:
    """Return a connection on which one has subscribed."""
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(LONG)
    line.connect(str(socket_path(SESSION)))
    wanted = {} if first is None else {"from": first}
    line.sendall(json.dumps({"version": 1, "do": "subscribe", **wanted}).encode() + b"\n")
    return line


def told(line: socket.socket) -> list[dict[str, Any]]:
    """Return all that comes until the runner closes the connection."""
    with line, line.makefile("rb") as file:
        return [json.loads(each) for each in file]


def question_of(number: int) -> dict[str, Any]:
    """Return the question about an action, once it waits."""
    deadline = time.monotonic() + LONG
    while True:
        question = tell(SESSION, do="status")["question"]
        if isinstance(question, dict) and question["action"] == f"{SESSION}/{number}":
            return question
        assert time.monotonic() < deadline
        time.sleep(0.02)


def deny_both() -> None:
    """Answer the session's two questions, after which it ends."""
    for number in (1, 2):
        question = question_of(number)
        tell(SESSION, do="deny", action=question["action"], digest=question["digest"])


def ledger(stand: Stand) -> list[dict[str, Any]]:
    """Return the session's entries, as its file has them."""
    path = stand.state / "sessions" / SESSION / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_fifty_who_subscribe_have_every_entry_from_the_one_they_asked_for_to_the_end(
    stand: Stand, asking: subprocess.Popen[bytes]
) -> None:
    """With a real runner; one that never reads and one that is killed are among them."""
    deaf = subscribe()
    command = [sys.executable, "-c", READER, str(socket_path(SESSION))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"1\n"
        subscribed = [subscribe(number % 4) for number in range(50)]
        killed.kill()
    heard: list[list[dict[str, Any]]] = [[] for _ in subscribed]
    threads = [
        threading.Thread(target=lambda place=place, line=line: heard[place].extend(told(line)))
        for place, line in enumerate(subscribed)
    ]
    for thread in threads:
        thread.start()

    deny_both()
    for thread in threads:
        thread.join(LONG)
    ended = asking.wait(LONG)
    deaf.close()

    entries = ledger(stand)
    assert ended == 0
    assert "session.closed" in [entry["type"] for entry in entries]
    for place, lines in enumerate(heard):
        assert lines[0] == {"version": 1, "ok": True, "session": SESSION}
        assert lines[1:-1] == [{"version": 1, "entry": entry} for entry in entries[place % 4 :]]
        assert lines[-1] == {"version": 1, "end": True}


def test_a_runner_that_is_killed_ends_the_stream_without_saying_that_it_is_the_end(
    stand: Stand, asking: subprocess.Popen[bytes]
) -> None:
    question_of(1)
    with subscribe() as line, line.makefile("rb") as file:
        heard = [json.loads(file.readline()) for _ in range(1 + len(ledger(stand)))]
        asking.send_signal(signal.SIGKILL)
        rest = file.read()

    assert rest == b""
    assert [each["entry"] for each in heard[1:]] == ledger(stand)


def test_whoever_follows_is_woken_by_the_runner_and_waits_alone_where_it_has_gone(
    stand: Stand, asking: subprocess.Popen[bytes]
) -> None:
    question_of(1)
    number = len(ledger(stand))
    with Awake(SESSION) as awake:
        awake.wait(0.1, first=number)  # the runner's answer to the subscription
        answering = threading.Thread(target=deny_both)
        answering.start()
        begun = time.monotonic()
        awake.wait(LONG, first=number)
        woken_seconds = time.monotonic() - begun
        answering.join(LONG)
        assert asking.wait(LONG) == 0
        for _ in range(20):
            awake.wait(0.01, first=number)

    assert woken_seconds < LONG / 2


@asynccontextmanager
async def door_of(files: SessionFiles, **settings: Any) -> AsyncIterator[Door]:
    """Open the door of a session that has written some files."""
    door = Door(SESSION, stop=lambda: None, files=files)
    door._feed = Feed(files, **settings)
    async with door.open():
        yield door


def written(folder: Path, entries: int) -> SessionFiles:
    """Write a ledger of many entries into two files, the last line of it without its end."""
    lines = [json.dumps({"seq": n, "x": "y" * 4000}, separators=(",", ":")) for n in range(entries)]
    half = entries // 2
    (folder / "events.jsonl").write_text("".join(f"{line}\n" for line in lines[:half]))
    (folder / "events.jsonl.1").write_text("".join(f"{line}\n" for line in lines[half:]) + '{"seq":')
    return SessionFiles(folder)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(LONG):
        while not holds():  # noqa: ASYNC110 - what is waited for is no event of the test's own
            await asyncio.sleep(0.02)


async def test_one_that_never_reads_holds_a_bounded_piece_and_is_let_go(tmp_path: Path) -> None:
    """Eight megabytes wait for it; others are served meanwhile, and it is gone after its time."""
    files = written(tmp_path, 2000)
    async with door_of(files, slow_seconds=0.5) as door:
        deaf = await asyncio.to_thread(subscribe)
        reader, writer = await asyncio.open_unix_connection(str(socket_path(SESSION)), limit=2**20)
        writer.write(b'{"version":1,"do":"subscribe","from":0}\n')
        heard = [json.loads(await reader.readline()) for _ in range(2001)]
        status = await asyncio.to_thread(lambda: tell(SESSION, do="status"))
        await until(lambda: len(door._feed._subscribers) == 1)
        writer.close()
        with deaf, deaf.makefile("rb") as file:
            left = len(await asyncio.to_thread(file.read))

    assert [each["entry"]["seq"] for each in heard[1:]] == list(range(2000))
    assert status["ok"] is True
    assert 0 < left < 1024 * 1024  # what the kernel and one piece hold


async def test_a_line_is_told_when_it_is_whole_and_what_is_none_of_the_ledgers_is_not(tmp_path: Path) -> None:
    files = written(tmp_path, 4)
    async with door_of(files):
        reader, writer = await asyncio.open_unix_connection(str(socket_path(SESSION)), limit=2**20)
        writer.write(b'{"version":1,"do":"subscribe","from":3}\n')
        heard = [json.loads(await reader.readline()) for _ in range(2)]
        with (tmp_path / "events.jsonl.1").open("a") as file:
            file.write('4,"x":1}\nnonsense\n{"seq":5,"x":2}\n')
        heard += [json.loads(await reader.readline()) for _ in range(2)]
        writer.close()

    assert [each["entry"]["seq"] for each in heard[1:]] == [3, 4, 5]


async def test_one_more_than_are_taken_is_refused_until_another_goes(tmp_path: Path) -> None:
    files = written(tmp_path, 2)
    async with door_of(files) as door:
        lines = [await asyncio.to_thread(subscribe) for _ in range(MOST_SUBSCRIBERS)]
        await until(lambda: door._feed.is_full)
        refused = await asyncio.to_thread(lambda: told(subscribe()))
        lines.pop().close()
        await until(lambda: not door._feed.is_full)
        taken = await asyncio.to_thread(subscribe)
        first = await asyncio.to_thread(lambda: json.loads(taken.makefile("rb").readline()))
        for line in (*lines, taken):
            line.close()

    assert [each["ok"] for each in refused] == [False]
    assert "64 have subscribed" in refused[0]["error"]
    assert first["ok"] is True


@pytest.mark.parametrize("first", [-1, "0", True, 1.5, None, [0]])
async def test_a_place_that_is_no_entrys_number_is_refused(first: object, tmp_path: Path) -> None:
    async with door_of(SessionFiles(tmp_path)):
        request = json.dumps({"version": 1, "do": "subscribe", "from": first}).encode() + b"\n"
        reader, writer = await asyncio.open_unix_connection(str(socket_path(SESSION)))
        writer.write(request)
        answer = json.loads(await reader.read())
        writer.close()

    assert answer["error"] == "expected `from` to be the number of an entry, from 0 on"


async def test_a_session_that_never_began_ends_its_stream(tmp_path: Path) -> None:
    async with door_of(SessionFiles(tmp_path)):
        line = await asyncio.to_thread(subscribe)
        await asyncio.sleep(0.1)

    assert (await asyncio.to_thread(told, line))[-1] == {"version": 1, "end": True}
    assert list((tmp_path / "pairlock").iterdir()) == []
