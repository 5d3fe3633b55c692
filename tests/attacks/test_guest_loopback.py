"""The loopback proxy in real containers, and clients that do what they should not, under runc and gVisor."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from sandbox.guest import frames
from tests.sandbox.guest.containers import Place, build_runtime, empty_image
from tests.sandbox.guest.launch import Running, reachable_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    Send = Callable[[bytes], Awaitable[None]]
    End = Callable[[], None]
    Relay = Callable[[AsyncIterator[bytes], Send, End], Awaitable[None]]

pytestmark = pytest.mark.engine

PYTHON = ["/rt/bin/python3", "-I", "-S", "-c"]
LARGE = 3_000_000
CLIENT = """
import os, socket, struct, sys, time
def client():
    return socket.create_connection(("127.0.0.1", 3128), timeout=60)
def whole(connection):
    pieces = []
    while data := connection.recv(65536):
        pieces.append(data)
    return b"".join(pieces)
def proxy():
    # The first that PID 1 forked. The one that carries connections is forked before every worker.
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                fields = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[1] == "1":
                found.append(int(name))
    return min(found)
"""


@pytest.fixture(scope="module")
def laid_out() -> Iterator[tuple[str, Path, list[str]]]:
    """Return an empty image, a runtime folder and its start line."""
    with reachable_folder() as runtime, empty_image() as image:
        yield image, runtime, build_runtime(runtime)


@pytest.fixture(params=["runc", pytest.param("runsc", marks=pytest.mark.gvisor)])
def place(request: pytest.FixtureRequest, laid_out: tuple[str, Path, list[str]]) -> Place:
    """Return where containers come from, one engine runtime after the other."""
    return Place(*laid_out, request.param)


class Served:
    """A guest whose connections the test serves."""

    def __init__(self, guest: Running, place: Place) -> None:
        self.guest = guest
        self._loader = place.start[: place.start.index("/rt/bin/python3")]
        self.open = 0
        self.most = 0
        self.ends: list[str] = []
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self, script: str, *, seconds: float = 90.0) -> str:
        """Run a client to its end and return what it printed."""
        argv = [*self._loader, *PYTHON, CLIENT + script]
        ran = await self.guest.spawn(*argv, env={"PYTHONHOME": "/rt"}, timeout_seconds=seconds)
        assert (ran["exit_code"], ran["timed_out"]) == (0, False), ran
        return str(ran["stdout"]).strip()

    def counting(self, relay: Relay) -> Relay:
        """Count the connections that are served at once, and how each ended."""

        async def counted(received: AsyncIterator[bytes], send: Send, end: End) -> None:
            self.open += 1
            self._idle.clear()
            self.most = max(self.most, self.open)
            how = "served"
            try:
                await relay(received, send, end)
            except asyncio.CancelledError:
                how = "cancelled"
                raise
            finally:
                self.open -= 1
                self.ends.append(how)
                if self.open == 0:
                    self._idle.set()

        return counted

    async def idle(self) -> None:
        """Wait until no connection is served."""
        async with asyncio.timeout(60):
            await self._idle.wait()


@asynccontextmanager
async def served(place: Place, relay: Relay) -> AsyncIterator[Served]:
    """Start a guest with `exec` and the loopback proxy, and serve its connections."""
    with reachable_folder() as root:
        async with place.running(root, "--exec", "--loopback") as guest:
            serving = Served(guest, place)
            guest.link.accept(serving.counting(relay))  # type: ignore[arg-type]
            yield serving


async def echo(received: AsyncIterator[bytes], send: Send, end: End) -> None:
    """Send everything back."""
    async for data in received:
        await send(data)
    end()


async def count(received: AsyncIterator[bytes], send: Send, end: End) -> None:
    """Tell how many bytes came, once all have."""
    total = 0
    async for data in received:
        total += len(data)
    await send(str(total).encode())
    end()


async def flood(received: AsyncIterator[bytes], send: Send, end: End) -> None:
    """Send much, whatever comes."""
    for _ in range(LARGE // 10_000):
        await send(b"x" * 10_000)
    end()


async def never(received: AsyncIterator[bytes], send: Send, end: End) -> None:
    """Wait for ever."""
    await asyncio.Event().wait()


async def test_a_client_that_has_said_all_still_gets_its_answer(place: Place) -> None:
    async with served(place, count) as serving:
        said = await serving.run(
            f"""
connection = client()
connection.sendall(bytes({LARGE}))
connection.shutdown(socket.SHUT_WR)
print(whole(connection).decode())
"""
        )

    assert said == str(LARGE)


async def test_bytes_come_back_as_they_were_sent(place: Place) -> None:
    async with served(place, echo) as serving:
        said = await serving.run(
            """
sent = os.urandom(100_000)
connection = client()
connection.sendall(sent)
connection.shutdown(socket.SHUT_WR)
print(whole(connection) == sent)
"""
        )

    assert said == "True"


async def test_a_slow_reader_gets_everything_and_delays_nobody(place: Place) -> None:
    async with served(place, flood) as serving:
        said = await serving.run(
            """
slow = client()
time.sleep(1)
print(len(whole(client())))
print(len(whole(slow)))
"""
        )

    assert said.split() == [str(LARGE)] * 2


async def test_the_host_is_told_of_a_client_that_resets(place: Place) -> None:
    async with served(place, never) as serving:
        await serving.run(
            """
connection = client()
connection.sendall(b"x")
connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
time.sleep(0.5)
connection.close()
time.sleep(0.5)
"""
        )
        await serving.idle()

    assert serving.ends == ["cancelled"]


async def test_no_more_than_200_are_open_at_once_and_the_others_wait_their_turn(place: Place) -> None:
    async def patient(received: AsyncIterator[bytes], send: Send, end: End) -> None:
        await anext(received)
        await send(b"y")
        end()

    async with served(place, patient) as serving:
        said = await serving.run(
            """
all = [client() for _ in range(250)]
time.sleep(2)
for connection in all:
    connection.sendall(b"x")
got = []
for connection in all:
    got.append(whole(connection))
    connection.close()
print(got.count(b"y"))
"""
        )
        await serving.idle()

    assert said == "250"
    assert serving.most == frames.MAX_CONNECTIONS


async def test_a_program_that_kills_the_proxy_loses_its_connections_and_gets_a_new_one(place: Place) -> None:
    async with served(place, echo) as serving:
        said = await serving.run(
            """
old = client()
old.sendall(b"a")
print(old.recv(1))
os.kill(proxy(), 9)
try:
    print(old.recv(1))
except ConnectionResetError:
    print(b"")
new = client()
new.sendall(b"b")
print(new.recv(1))
"""
        )
        await serving.idle()

    assert said.split() == ["b'a'", "b''", "b'b'"]
    assert serving.ends[0] == "cancelled"


async def test_a_proxy_that_a_program_stopped_goes_on(place: Place) -> None:
    async with served(place, echo) as serving:
        said = await serving.run(
            """
old = client()
old.sendall(b"a")
old.recv(1)
os.kill(proxy(), 19)
old.sendall(b"b")
print(old.recv(1))
"""
        )
        await serving.idle()

    assert said == "b'b'"
    assert serving.ends == ["served"]


async def test_a_proxy_that_a_program_stops_again_and_again_is_replaced(place: Place) -> None:
    async with served(place, echo) as serving:
        said = await serving.run(
            """
old = client()
old.sendall(b"a")
old.recv(1)
stopped = proxy()
until = time.monotonic() + 60
try:
    while time.monotonic() < until:
        os.kill(stopped, 19)
        time.sleep(0.01)
except ProcessLookupError:
    pass
try:
    print(old.recv(1))
except ConnectionResetError:
    print(b"")
new = client()
new.sendall(b"b")
print(new.recv(1))
"""
        )
        await serving.idle()

    assert said.split() == ["b''", "b'b'"]
    assert serving.ends == ["cancelled", "served"]


PILE_UP = """
import os, time
from sandbox.guest import frames, signals
from sandbox.guest.outgoing import MOST_PIECES, Outgoing
from sandbox.guest.watch import Watch
from sandbox.guest.wire import Wire
there, sink = os.pipe()
os.set_blocking(sink, False)
link = Wire(there, sink)
outgoing = Outgoing(link, [])
outgoing.watched_by(Watch())
outgoing.fill()
stopped = outgoing.process
assert stopped > 1
os.kill(stopped, signals.STOP)
outgoing._live.add(2)
sent = 0
while outgoing.process and sent < 4 * MOST_PIECES:
    outgoing.take(frames.Frame(frames.BODY, 2, b"x"))
    sent += 1
gone, status = os.waitpid(stopped, 0)
link.flush()
print(sent > MOST_PIECES, sent < 2 * MOST_PIECES, os.WTERMSIG(status), os.read(there, 99)[4] == frames.CANCEL)
"""


def test_what_waits_for_a_proxy_that_does_not_run_is_bounded() -> None:
    """Nobody wakes it here: its frames pile up to a bound, then it is ended and the host told."""
    done = subprocess.run([sys.executable, "-c", PILE_UP], capture_output=True, check=True, text=True)

    assert done.stdout == "True True 9 True\n"


async def test_without_loopback_nothing_listens_and_nothing_can_be_asked(place: Place) -> None:
    with reachable_folder() as root:
        async with place.running(root, "--exec") as guest:
            serving = Served(guest, place)
            said = await serving.run("try: client()\nexcept OSError as error: print(error.errno)")

    assert said in ("97", "1")  # EAFNOSUPPORT, EPERM: there is not even a socket
