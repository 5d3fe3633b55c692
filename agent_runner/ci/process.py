"""Run one attempt at a case in a process of its own, and clean up after one that was killed.

The process is led by a file (`handing`), tells what it does on its stdout (`telling`), and ends in order when
its stdin does: with Ctrl-C, and when this process is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import agent_runner
from agent_runner.ci.handing import order_path, write_order
from agent_runner.ci.outcome import FAILED
from agent_runner.ci.result_tree import sweep_trees
from agent_runner.ci.telling import heard
from agent_runner.leftovers import running
from agent_runner.output_pipe import output_pipe
from agent_runner.state_label import errands_of, state_label
from audit.escape import escape_line
from sandbox.docker_engine import DockerEngine
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine

    from agent_runner.ci.handing import Order
    from agent_runner.ci.telling import Onlooker

_PROGRAM: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from agent_runner.cli.ci_task import main; main()"
)
_TOLD: Final = frozenset(range(2, 8))
_LONGEST_LINE: Final = 1024 * 1024
_TAIL_BYTES: Final = 4000
_LATE_SECONDS: Final = 5.0
"""How long what a process said is still read once it has ended; a program that it left may hold the pipe."""
_MOST_SECONDS: Final = 10.0
"""A container ends by itself with the link; this is how long it may take before it is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended."""

    code: int
    """As in `subprocess`: below zero for a signal."""
    sessions: frozenset[str]
    """What it began."""
    last_words: str
    """The last line of its stderr, escaped."""
    interrupted: bool
    """Whether it was told to end."""

    @property
    def how(self) -> str:
        """Return it in words, for a process that left no result."""
        if self.code < 0:
            return f"its runner was ended by {_signal_name(-self.code)}"
        words = f": {self.last_words}" if self.last_words else ""
        return f"its runner ended with {self.code} and no result{words}"

    @property
    def failure(self) -> tuple[int, str]:
        """Return the exit code and reason that stand for a process without a result.

        Codes above 1 are its own word: it found its case refused, or not as it was.
        """
        if self.code in _TOLD and self.last_words:
            return self.code, self.last_words
        return FAILED, self.how


async def run_process(order: Order, onlooker: Onlooker, *, lock: int) -> Ended:
    """Run a process to its end; when this is cancelled, it is told to end in order, and waited for.

    Args:
        order: What it is to do.
        onlooker: Who is told of it.
        lock: The run's; the process holds it as well.
    """
    path = write_order(order)
    sessions: set[str] = set()
    interrupted = False
    async with output_pipe(limit=_LONGEST_LINE) as (told, telling), output_pipe() as (said, saying):
        with telling, saying:
            process, lead = await _started(path, telling, saying, lock)
        with lead:
            heard_out = _follow(process, _hear(told, order.case, onlooker, sessions), said)
            following = asyncio.ensure_future(heard_out)
            while not following.done():
                try:
                    await asyncio.shield(following)
                except asyncio.CancelledError:
                    interrupted = True
                    lead.close()
    order_path(Path(order.results), order.case).unlink(missing_ok=True)
    return Ended(
        code=process.returncode or 0,
        sessions=frozenset(sessions),
        last_words=following.result(),
        interrupted=interrupted,
    )


async def _started(
    path: Path, telling: BinaryIO, saying: BinaryIO, lock: int
) -> tuple[asyncio.subprocess.Process, BinaryIO]:
    """Start a process, and return it and what it is led by: closed, the process ends in order."""
    theirs, ours = os.pipe()
    with os.fdopen(theirs, "rb", buffering=0) as led, ExitStack() as stack:
        lead = stack.enter_context(os.fdopen(ours, "wb", buffering=0))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-c",
            _PROGRAM,
            str(Path(agent_runner.__file__).parent.parent),
            str(path),
            stdin=led,
            stdout=telling,
            stderr=saying,
            pass_fds=(lock,),
            start_new_session=True,
        )
        stack.pop_all()
    return process, lead


async def clean_up_after(state: Path, sessions: Collection[str]) -> None:
    """Remove what a killed process left: containers and volumes of its sessions, and folders of results.

    Args:
        state: The state folder.
        sessions: What the process had begun; one that lives is left alone.
    """
    await asyncio.to_thread(sweep_trees, state)
    dead = {session for session in sessions if not running(state, session)}
    if not dead:
        return
    label = state_label(state)
    engine = await DockerEngine.connect(errands=errands_of(state))
    try:
        deadline = asyncio.get_running_loop().time() + _MOST_SECONDS
        while left := [each for each in await engine.owned(state=label) if each.session in dead]:
            if asyncio.get_running_loop().time() > deadline or any(each.state == "created" for each in left):
                for each in left:
                    await engine.remove(each.container_id)
                break
            await asyncio.sleep(0.2)
        for volume, session in await engine.owned_volumes(state=label):
            if session in dead:
                await engine.remove_volume(volume)
    finally:
        await engine.close()


async def tidied(state: Path, sessions: Collection[str]) -> str:
    """Clean up, and return why that could not be done; empty when it was."""
    try:
        await clean_up_after(state, sessions)
    except (SandboxError, OSError) as error:
        return escape_line(str(error), width=200)
    return ""


async def _follow(
    process: asyncio.subprocess.Process, hearing_out: Coroutine[None, None, None], said: asyncio.StreamReader
) -> str:
    """Wait for a process's end, and return the last line of its stderr.

    What it started and left behind may hold its stdout or stderr, and is not waited for.
    """
    tail = bytearray()
    ending = asyncio.ensure_future(process.wait())
    hearing, words = asyncio.ensure_future(hearing_out), asyncio.ensure_future(_keep_tail(said, tail))
    try:
        await asyncio.wait((ending, hearing), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait((hearing,), timeout=_LATE_SECONDS)
        if hearing.done():
            hearing.result()
        await ending
        await asyncio.wait((words,), timeout=_LATE_SECONDS)
    finally:
        for each in (ending, hearing, words):
            each.cancel()
    lines = tail.decode("utf-8", "replace").strip().splitlines()
    return escape_line(lines[-1], width=200) if lines else ""


async def _hear(told: asyncio.StreamReader, case: str, onlooker: Onlooker, sessions: set[str]) -> None:
    while True:
        try:
            line = await told.readline()
        except ValueError:  # longer than anything that it tells
            continue
        if not line:
            return
        heard(line, case, onlooker, sessions)


async def tail_of(stream: asyncio.StreamReader) -> bytes:
    """Read a stream to its end, and return its last 4,000 bytes."""
    tail = bytearray()
    await _keep_tail(stream, tail)
    return bytes(tail)


async def _keep_tail(stream: asyncio.StreamReader, tail: bytearray) -> None:
    while chunk := await stream.read(65536):
        tail += chunk
        del tail[:-_TAIL_BYTES]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
