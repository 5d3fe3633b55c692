"""Sessions that other terminals reach: run as a program, one that asks, or one that heeds nobody.

python -m tests.agent_runner.reachable PLACE asks|heeds|deaf|hosted
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_runner.answerable import answerable
from agent_runner.approvals import NobodyApprover
from agent_runner.door import Door
from audit.lock import WriterLock, is_held
from audit.state import StateFiles
from tests.agent_runner.stand import FINISH, SESSION, Stand, lines, saying

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT: Final = Path(__file__).resolve().parents[2]
LONG: Final = 60.0
POLICY: Final = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *"], ask: ["files remove"]}\n'


async def _asks(stand: Stand) -> None:
    """Run a session that asks twice before it ends."""
    async with answerable(SESSION, NobodyApprover(), state=stand.state, alone=True) as asker:
        model = saying(lines("files remove a"), lines("files remove 'b c'"), FINISH)
        await stand.run(model, POLICY, approver=asker, headless=False)


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
    asyncio.run(_asks(given) if way == "asks" else _listens(given, way))
