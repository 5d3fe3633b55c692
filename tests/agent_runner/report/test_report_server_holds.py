"""The report server under clients that mean no good, and under sessions that change while they are viewed."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_runner.aside import aside
from agent_runner.report.gather import Pins
from agent_runner.report.serving import desk
from agent_runner.report.serving import server as serving
from agent_runner.report.serving.server import ReportServer
from audit.host import HostLog
from audit.withhold import prune
from tests.agent_runner.report.story import SESSION, begin, ordinary
from tests.agent_runner.report.test_report_server import exchanged, request, serving_of, unanswered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_runner.report.serving.doorman import Door

ROOT = Path(__file__).resolve().parents[3]
SLOW = """
import sys, threading, time
from agent_runner.report.serving import desk
reading = desk.gather_report
def slow(*args, **kwargs):
    print("reading", flush=True)
    time.sleep(600)
desk.gather_report = slow
from agent_runner.cli.main import main
sys.argv = ["pairlock", "audit", "report", "--serve"]
main()
"""


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """Return a state folder with one session."""
    folder = tmp_path / "state"
    await ordinary(folder)
    return folder


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "CONNECT", "TRACE", "BREW"])
async def test_there_is_nothing_but_get(state: Path, method: str) -> None:
    async with serving_of(state) as (door, said):
        status, headers, body = await exchanged(door, request(door, door.home, method=method))

    assert (status, headers["allow"]) == (405, "GET")
    assert SESSION.encode() not in body
    assert said == []


async def test_a_range_is_not_heeded_and_the_whole_page_comes(state: Path) -> None:
    async with serving_of(state) as (door, _):
        status, headers, body = await exchanged(door, request(door, door.home, more="Range: bytes=0-3\r\n"))

    assert status == 200
    assert int(headers["content-length"]) == len(body) > 1000


async def test_a_second_request_behind_the_first_is_never_read(state: Path) -> None:
    """One request for a connection: there is no second one to smuggle."""
    async with serving_of(state) as (door, _):
        page = f"{door.home}session/{SESSION}"
        both = request(door, door.home, cookie=False) + request(door, page)
        status, headers, body = await exchanged(door, both)

    assert (status, headers["connection"]) == (403, "close")
    assert b"HTTP/1.1 200" not in body
    assert SESSION.encode() not in body


async def test_two_hosts_two_cookies_or_a_folded_header_let_nobody_in(state: Path) -> None:
    async with serving_of(state) as (door, _):
        more = "Host: evil.example\r\n"
        assert (await exchanged(door, request(door, door.home, more=more)))[0] in (400, 421)
        more = "Origin: http://evil.example\r\n"
        assert (await exchanged(door, request(door, door.home, more=more)))[0] == 403
        more = "X: y\r\n Origin: http://evil.example\r\n"
        assert (await exchanged(door, request(door, door.home, more=more)))[0] in (200, 400)


def crowd(door: Door) -> None:
    """Open a thousand connections, 250 at once, say nothing, and close them."""
    for _ in range(4):
        idle = [socket.create_connection(("127.0.0.1", door.port), timeout=60) for _ in range(250)]
        for one in idle:
            one.close()


async def test_a_thousand_connections_leave_the_server_as_it_was(state: Path) -> None:
    async with serving_of(state) as (door, said):
        await asyncio.to_thread(crowd, door)
        for _ in range(100):
            if not await unanswered(door):
                break
            await asyncio.sleep(0.1)
        assert (await exchanged(door, request(door, door.home)))[0] == 200

    assert said == []


def taken(door: Door, *, begun: threading.Event, after: threading.Event) -> int:
    """Ask for a page, begin to read, and return how much comes in all when one goes on after something."""
    with socket.create_connection(("127.0.0.1", door.port), timeout=60) as asking, suppress(ConnectionError):
        asking.sendall(request(door, f"{door.home}session/{SESSION}"))
        count = len(asking.recv(100))
        begun.set()
        after.wait(60)
        while piece := asking.recv(65536):
            count += len(piece)
    return count


BIG = "x" * 30_000_000


async def test_who_does_not_listen_is_let_go_and_others_are_answered_meanwhile(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LISTEN_SECONDS", 1.0)
    monkeypatch.setattr(desk, "render", lambda *_, **__: BIG)
    begun, go_on, patient = threading.Event(), threading.Event(), threading.Event()
    patient.set()

    said: list[str] = []
    made = ReportServer(state, Pins(), say=said.append)
    door = await made.open(0)
    try:
        deaf = asyncio.create_task(asyncio.to_thread(taken, door, begun=begun, after=go_on))
        assert await asyncio.to_thread(begun.wait, 60)
        assert (await exchanged(door, request(door, door.home)))[0] == 200
        assert await asyncio.to_thread(taken, door, begun=threading.Event(), after=patient) > len(BIG)
        await asyncio.wait_for(asyncio.gather(*made._open), 60)
    finally:
        go_on.set()
        await made.close()

    assert await deaf < len(BIG)
    assert said == []


async def test_a_server_that_ends_does_not_wait_for_who_does_not_listen(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LISTEN_SECONDS", 600.0)
    monkeypatch.setattr(desk, "render", lambda *_, **__: BIG)
    begun, go_on = threading.Event(), threading.Event()
    made = ReportServer(state, Pins(), say=print)
    door = await made.open(0)
    deaf = asyncio.create_task(asyncio.to_thread(taken, door, begun=begun, after=go_on))
    assert await asyncio.to_thread(begun.wait, 60)

    try:
        await asyncio.wait_for(made.close(), 60)
    finally:
        go_on.set()

    assert await deaf < len(BIG)


@pytest.mark.parametrize("gone", ["pruned", "removed"])
async def test_a_session_that_goes_while_it_is_viewed_is_told_and_ends_nothing(
    tmp_path: Path, gone: str
) -> None:
    state = tmp_path / "state"
    story = begin(state)
    async with serving_of(state) as (door, said):
        path = f"{door.home}session/{SESSION}"
        async with story.journal:
            await story.open("a task")
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            writer.write(request(door, f"{path}/events?after=1"))
            assert b"event: steps" in await asyncio.wait_for(reader.readuntil(b"event: steps"), 60)
            if gone == "removed":
                shutil.rmtree(state / "sessions" / SESSION)
            else:
                await story.close()
        if gone == "pruned":
            with closing(HostLog(state)) as host:
                prune(host, SESSION, why="old")
        rest = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        status, _, body = await exchanged(door, request(door, path))
        assert (await exchanged(door, request(door, door.home)))[0] == 200

    assert b"event: ended" in rest or b"event: stopped" in rest
    assert status == 404
    assert ("deleted on purpose" if gone == "pruned" else "has no ledger") in body.decode()
    assert said == []


@contextmanager
def serving_slowly(state: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the command, and kill it where the block ends or takes too long."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW],
        cwd=ROOT,
        env=os.environ | {"PAIRLOCK_STATE": str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watch = threading.Timer(240, process.kill)
    watch.start()
    with process:
        try:
            yield process
        finally:
            watch.cancel()
            process.kill()


def test_ctrl_c_ends_at_once_while_a_long_ledger_is_read_and_says_no_more_than_that(tmp_path: Path) -> None:
    """The page of a session of 64 MB took 43 s to give up, and ended with a traceback."""
    asyncio.run(ordinary(tmp_path / "state"))
    with serving_slowly(tmp_path / "state") as process:
        assert process.stdout is not None
        address = process.stdout.readline()
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/[\w-]+/)\?token=([\w-]+)\n", address)
        assert found
        assert found[3] not in Path(f"/proc/{process.pid}/cmdline").read_text()
        with (
            closing(http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)) as entrance,
            closing(http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)) as asking,
        ):
            entrance.request("GET", f"{found[2]}?token={found[3]}")
            cookie = str(entrance.getresponse().getheader("Set-Cookie")).split(";", maxsplit=1)[0]
            asking.request("GET", f"{found[2]}session/{SESSION}", headers={"Cookie": cookie})
            assert process.stdout.readline() == "reading\n"

            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=25)  # less than it would wait for a client

    assert process.returncode == 0
    assert errors.splitlines()[1:] == ["ended"]


async def test_work_aside_answers_raises_and_is_left_when_nobody_waits() -> None:
    def broken() -> int:
        raise LookupError("it is not there")

    assert await aside(max, 3, 7) == 7
    with pytest.raises(LookupError, match="it is not there"):
        await aside(broken)

    go_on = threading.Event()
    waiting = asyncio.create_task(aside(go_on.wait, 60))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
