"""The report server, on a real socket: what it hands out, what it bounds, how it follows, how it ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from agent_runner.report.gather import Pins
from agent_runner.report.serving import server as serving
from agent_runner.report.serving.doorman import COOKIE
from agent_runner.report.serving.live import LiveSession
from agent_runner.report.serving.server import ReportServer
from audit import event
from tests.agent_runner.report.reading import Page
from tests.agent_runner.report.story import SESSION, begin, ordinary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_runner.report.serving.doorman import Door

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state folder with one session, which no test here changes."""
    folder = tmp_path_factory.mktemp("served") / "state"
    asyncio.run(ordinary(folder))
    return folder


@asynccontextmanager
async def serving_of(state: Path) -> AsyncIterator[tuple[Door, list[str]]]:
    """Serve a state folder; yield the door and what the server said."""
    said: list[str] = []
    made = ReportServer(state, Pins(), say=said.append)
    door = await made.open(0)
    try:
        yield door, said
    finally:
        await made.close()


async def exchanged(door: Door, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes and return status, headers and body of the answer; 0 when there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(raw)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    if not answer:
        return 0, {}, b""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    return int(first.split(" ")[1]), headers, body


async def unanswered(door: Door) -> bool:
    """Tell whether a connection is closed or reset without a word."""
    try:
        return (await exchanged(door, request(door, door.home)))[0] == 0
    except ConnectionError:
        return True


def request(door: Door, path: str, *, cookie: bool = True, method: str = "GET", more: str = "") -> bytes:
    held = f"Cookie: {COOKIE}={door.cookie}\r\n" if cookie else ""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{door.port}\r\n{held}{more}\r\n".encode()


async def test_the_printed_address_leads_to_the_list_and_to_a_sessions_page(state: Path) -> None:
    async with serving_of(state) as (door, said):
        entrance = door.address.removeprefix(f"http://127.0.0.1:{door.port}")
        status, headers, _ = await exchanged(door, request(door, entrance, cookie=False))
        assert (status, headers["location"]) == (303, door.home)
        assert headers["set-cookie"].startswith(f"{COOKIE}={door.cookie}; ")

        status, _, body = await exchanged(door, request(door, door.home))
        assert status == 200
        links = [a["href"] for name, a in Page(body.decode()).elements if name == "a"]
        assert links == [f"{door.home}session/{SESSION}"]

        status, headers, body = await exchanged(door, request(door, str(links[0])))
        assert status == 200
        page = Page(body.decode())
        assert "Make the tests pass" in page.text
        assert page.data["live"] == ""
        assert headers["content-security-policy"] == "; ".join([*page.policy, "frame-ancestors 'none'"])
    assert said == []


class _Faulty(ReportServer):
    """A server with a fault of its own, whose words came from a session."""

    async def _served(self, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        raise LookupError("\x1b[2J\u202e\nsecond line")


async def test_a_fault_of_the_servers_own_is_told_on_one_line_that_does_nothing(state: Path) -> None:
    said: list[str] = []
    server = _Faulty(state, Pins(), say=said.append)
    door = await server.open(0)

    assert await unanswered(door)
    await server.close()

    told = "LookupError: \\x1b[2J\\u202e\\nsecond line"
    assert said == [f"pairlock: a fault of pairlock's own: {told}"]


async def test_without_the_cookie_there_is_nothing_and_nothing_can_be_kept_or_framed(state: Path) -> None:
    async with serving_of(state) as (door, _):
        path = f"{door.home}session/{SESSION}"
        status, headers, body = await exchanged(door, request(door, path, cookie=False))

    assert status == 403
    assert SESSION.encode() not in body
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "session/../../host.key",
        "session/%2e%2e/%2e%2e/host.key",
        "session/0123456789ab/../../../host.key",
        "session/0123456789ab/events.jsonl",
        "session/0123456789ab%00",
        "session/0123456789a",
        "session/0123456789AB",
        "session/last",
        "session/zzzzzzzzzzzz",
        "session/zzzzzzzzzzzz/events",
        "host.key",
        "session/",
        "assets/report.js",
    ],
)
async def test_no_path_leads_to_a_file(state: Path, path: str) -> None:
    async with serving_of(state) as (door, said):
        status, _, body = await exchanged(door, request(door, f"{door.home}{path}"))

    assert status == 404
    assert b"PRIVATE" not in body
    assert b"root:" not in body
    assert b"Traceback" not in body
    assert said == []


async def test_a_request_is_bounded_and_rubbish_is_no_fault(state: Path) -> None:
    async with serving_of(state) as (door, said):
        long = request(door, door.home, more=f"X: {'a' * 40_000}\r\n")
        assert (await exchanged(door, long))[0] in (0, 431)
        assert (await exchanged(door, b"\x16\x03\x01\x02\x00\x01\x00" + b"\r\n\r\n"))[0] == 400
        assert (await exchanged(door, b"GET / HTTP/9.9\r\n\r\n"))[0] == 421
        assert (await exchanged(door, request(door, door.home, method="POST")))[0] == 405
        smuggled = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
        assert (await exchanged(door, request(door, door.home, more=smuggled)))[0] == 400
        assert (await exchanged(door, request(door, door.home)))[0] == 200
    assert said == []


async def test_a_client_that_does_not_finish_asking_is_let_go(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "ASK_SECONDS", 0.3)

    async with serving_of(state) as (door, _):
        status, _, _ = await exchanged(door, b"GET / HTTP/1.1\r\nHost: ")

    assert status == 0


async def test_connections_are_bounded_and_room_comes_back(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MOST_CONNECTIONS", 3)

    async with serving_of(state) as (door, _):
        idle = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(3)]
        await asyncio.sleep(0.2)
        assert await unanswered(door)
        for _, writer in idle:
            writer.close()
        await asyncio.sleep(0.5)
        assert (await exchanged(door, request(door, door.home)))[0] == 200


async def test_the_server_listens_on_the_loopback_only(state: Path) -> None:
    made = ReportServer(state, Pins(), say=print)

    await made.open(0)

    try:
        assert made._server is not None
        assert [socket.getsockname()[0] for socket in made._server.sockets] == ["127.0.0.1"]
    finally:
        await made.close()


async def test_a_broken_ledger_is_a_page_that_says_so_and_a_broken_host_log_a_line(tmp_path: Path) -> None:
    state = tmp_path / "state"
    await ordinary(state)
    log = state / "sessions" / SESSION / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"exit_code":1', b'"exit_code":0', 1))

    async with serving_of(state) as (door, said):
        _, _, body = await exchanged(door, request(door, f"{door.home}session/{SESSION}"))
        assert "The ledger does not verify" in Page(body.decode()).text
        (state / "ledger.jsonl").write_bytes(b"rubbish\n")
        status, _, body = await exchanged(door, request(door, door.home))
    assert status == 500
    assert b"Traceback" not in body
    assert said == []


async def events_of(reader: asyncio.StreamReader) -> AsyncIterator[tuple[str, str, object]]:
    """Yield the events of a stream: name, id, data."""
    raw = b""
    while chunk := await asyncio.wait_for(reader.read(65536), 60):
        raw += chunk
        text = re.sub(rb"\r\n[0-9a-f]+\r\n", b"", raw)  # chunks' borders; data holds no \r
        *whole, _ = text.split(b"\n\n")
        raw = raw if not whole else raw[raw.rindex(b"\n\n") + 2 :] if raw.endswith(b"\r\n") else raw
        for block in whole:
            fields = dict(re.findall(rb"(?m)^(event|id|data): (.*)$", block))
            if b"event" in fields:
                yield (
                    fields[b"event"].decode(),
                    fields.get(b"id", b"").decode(),
                    orjson.loads(fields[b"data"]),
                )


async def test_a_running_session_is_followed_until_it_ends(tmp_path: Path) -> None:
    """What is told after the page was made, and only that; bodies that are newer than the page are there."""
    state = tmp_path / "state"
    story = begin(state)
    async with serving_of(state) as (door, said):
        async with story.journal:
            await story.open("a task")
            _, _, body = await exchanged(door, request(door, f"{door.home}session/{SESSION}"))
            page = Page(body.decode())
            assert page.data["live"] == f"{door.home}session/{SESSION}/events"
            assert "connect-src 'self'" in page.policy
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            writer.write(request(door, f"{page.data['live']}?after={page.data['entries']}"))
            told = events_of(reader)
            number = await story.intend("run", "pytest")
            first = await anext(told)
            await story.finish(number, "what came later")
            second = await anext(told)
            await story.close()
        rest = [found async for found in told]
        writer.close()

    place = len(page.data["steps"])
    assert [(found[0], [one[0] for one in found[2]]) for found in (first, second)] == [
        ("steps", [place]),
        ("steps", [place]),
    ]
    assert second[2][0][1]["parts"][0]["text"] == "what came later"
    assert rest[-1][0] == "ended"
    assert "session ended: done" in [step["name"] for found in rest[:-1] for _, step in found[2]]
    assert said == []


@pytest.mark.parametrize("kept", [5, None])
async def test_a_live_page_is_told_that_the_tail_was_cut_off_when_the_session_has_ended(
    tmp_path: Path, kept: int | None
) -> None:
    state = tmp_path / "state"
    await ordinary(state)
    log = state / "sessions" / SESSION / "events.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:kept]))

    steps, ended = LiveSession(state, SESSION, after=0).news()

    assert (b"BROKEN ENTRY" in steps, b"the log ends here" in steps) == (kept is not None, kept is not None)
    assert ended.startswith(b"event: ended")


async def test_the_list_hears_of_a_session_that_begins_even_before_it_listens(tmp_path: Path) -> None:
    state = tmp_path / "state"
    await ordinary(state)
    async with serving_of(state) as (door, _):
        _, _, body = await exchanged(door, request(door, door.home))
        live = Page(body.decode()).data["live"]
        async with begin(state, "ba9876543210").journal as journal:
            await journal.record(event.SafetyNoted(code="x", message="x"))
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            writer.write(request(door, live))
            heard = await asyncio.wait_for(reader.read(), 60)
            writer.close()

    assert b"event: changed" in heard


async def test_ctrl_c_ends_the_command_cleanly(state: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agent_runner",
        "audit",
        "report",
        "--serve",
        cwd=ROOT,
        env=os.environ | {"PAIRLOCK_STATE": str(state)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    address = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
    found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/[\w-]+/\?token=[\w-]+)", address)
    assert found
    reader, writer = await asyncio.open_connection("127.0.0.1", int(found[1]))
    writer.write(f"GET {found[2]} HTTP/1.1\r\nHost: 127.0.0.1:{found[1]}\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 303")
    writer.close()

    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), 60)

    assert process.returncode == 0
    assert errors.decode().splitlines()[-1] == "ended"
    assert "Traceback" not in errors.decode()
