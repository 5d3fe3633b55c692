"""Sessions that other terminals reach: run as a program, one that asks, or one that heeds nobody.

python -m tests.agent_runner.reachable PLACE asks|down|heeds|deaf|hosted
"""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_runner.answerable import answerable
from agent_runner.approvals import NobodyApprover
from agent_runner.backends.failure import Failure, ModelServerError
from agent_runner.door import Door
from audit.lock import WriterLock, is_held
from audit.state import StateFiles
from tests.agent_runner.stand import FINISH, SESSION, Model, Stand, lines, saying

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent_runner.backends.backend import Message, Reply

CHECKOUT: Final = Path(__file__).resolve().parents[2]
LONG: Final = 60.0
POLICY: Final = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"], ask: ["files remove"]}\n'


async def _asks(stand: Stand) -> None:
    """Run a session that asks twice before it ends."""
    async with answerable(SESSION, NobodyApprover(), state=stand.state, alone=True) as asker:
        model = saying(lines("files remove a"), lines("files remove 'b c'"), FINISH)
        await stand.run(model, POLICY, approver=asker, headless=False)


async def _goes_down(stand: Stand) -> None:
    """Run a session whose model answers once, and then never."""
    async with answerable(SESSION, NobodyApprover(), state=stand.state, alone=True) as asker:
        await stand.run(going_down(lines("files list")), approver=asker)


def going_down(
    *replies: Reply, seconds: float = math.inf, monotonic: Callable[[], float] = time.monotonic
) -> Model:
    """Return a model that says one thing, is down for a while, and then says the rest."""
    since: list[float] = []

    def answer(_: Sequence[Message], turn: int) -> Reply:
        if turn == 1:
            return replies[0]
        since.append(monotonic())
        if since[-1] - since[0] < seconds:
            raise ModelServerError("`model.test` cannot be reached", failure=Failure(kind="unreachable"))
        said.append(turn)
        return replies[len(said)]

    said: list[int] = []
    return Model(answer)


async def _listens(stand: Stand, kind: str) -> None:
    """Hold a session's ledger and its door, and end when told to, or not."""
    files = StateFiles(stand.state).session(SESSION)
    files.folder.mkdir(parents=True)
    lock, told = WriterLock(files.lock), asyncio.Event()
    stop = told.set if kind == "heeds" else lambda: None
    async with Door(SESSION, stop=stop, files=files, alone=kind != "hosted").open():
        await told.wait()
    lock.release()


@contextmanager
def reachable(stand: Stand, kind: str, runtime: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process whose session runs; end it."""
    command = [sys.executable, "-m", "tests.agent_runner.reachable", str(stand.place), kind]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
    with subprocess.Popen(command, cwd=CHECKOUT, env=environment) as process:
        try:
            deadline = time.monotonic() + LONG
            lock, socket = StateFiles(stand.state).session(SESSION).lock, runtime / "pairlock" / SESSION
            while not (is_held(lock) and socket.exists()):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


if __name__ == "__main__":
    given, way = Stand(Path(sys.argv[1])), sys.argv[2]
    runs = {"asks": _asks, "down": _goes_down}
    asyncio.run(runs[way](given) if way in runs else _listens(given, way))
