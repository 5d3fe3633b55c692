"""Run git on the host with nothing of the user's: one protocol, no program that it could be told to start.

What git is given to read is untrusted: a server's answers, a stranger's repository. It is bounded in time, in
memory and in what it writes, and each of its processes ends with whoever started it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, TypeVar

from agent_runner.ci.process import tail_of
from agent_runner.errors import InvalidInputError, RunnerError
from agent_runner.output_pipe import output_pipe
from audit.escape import escape_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

T = TypeVar("T")
Protocol = Literal["https", "file"]
MEMORY_BYTES: Final = 2 * 1024 * 1024 * 1024
"""Of its own (RLIMIT_DATA): a pack may say that an object has any size, and have any number of them."""
_PASSED: Final = ("PATH", "GIT_SSL_CAINFO", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
_SETTINGS: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.bigFileThreshold=1m",  # larger files are copied a piece at a time, never held in memory
    "credential.helper=",
    "fetch.fsckObjects=true",
    "fetch.unpackLimit=1",  # one pack, whatever its number of objects
    "gc.auto=0",
    "http.followRedirects=false",
    "http.lowSpeedLimit=1000",  # bytes a second, for
    "http.lowSpeedTime=60",
    "maintenance.auto=false",
    "protocol.allow=never",
    "submodule.recurse=false",
    "transfer.bundleURI=false",
    "transfer.fsckObjects=true",
)
_BOUNDED: Final = """\
import os, resource, select, signal, sys
lives = int(sys.argv[1])
os.set_inheritable(lives, False)
if os.fork() == 0:
    os.closerange(0, 3)
    select.select([lives], [], [], float(sys.argv[2]))
    os.killpg(0, signal.SIGKILL)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[4]),) * 2)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execv(sys.argv[5], sys.argv[5:])
"""
"""Becomes git, beside a process that ends git and each of its helpers once whoever started it has ended.

A file that grows too large is an error of git's own.
"""
_LATE_SECONDS: Final = 10.0
"""How long after its time git is ended by that process: whoever started it may be stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """How git is run."""

    folder: str
    """Its working folder, and its home."""
    protocol: Protocol = "https"
    """The one that may be spoken; `file` is for tests."""
    largest_bytes: int
    """Of each file that it may write."""
    seconds: float
    """How long each run may take; a caller that gives it less ends it itself."""

    async def say(self, *words: str) -> str:
        """Run it, and return the end of what it printed.

        Raises:
            InvalidInputError: When it is not there.
            RunnerError: When it fails: a server that is away may be back for another try.
        """
        return (await self.read(words, tail_of)).decode("ascii", "replace").strip()

    async def read(self, words: Sequence[str], reading: Callable[[asyncio.StreamReader], Awaitable[T]]) -> T:
        """Run it, and return what was made of its output; when that raises or is cancelled, it is ended.

        Args:
            words: Its arguments.
            reading: Reads what it prints to the end.

        Raises:
            InvalidInputError: When it is not there.
            RunnerError: When it fails: a server that is away may be back for another try.
        """
        async with self._running(words) as (process, told, said):
            errors = asyncio.ensure_future(tail_of(said))
            try:
                found = await reading(told)
                words_of_it = await errors
                await process.wait()
            finally:
                errors.cancel()
        if process.returncode != 0:
            why = words_of_it.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise RunnerError(
                f"the commit cannot be fetched: {escape_line(why, width=200) or _ended(process.returncode)}",
                hint="its server has to give it by hash",
            )
        return found

    @asynccontextmanager
    async def _running(
        self, words: Sequence[str]
    ) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader, asyncio.StreamReader]]:
        """Run it, and yield it, its stdout and its stderr."""
        lives, held = os.pipe()  # the kernel closes what is held here, however this process ends
        try:
            async with output_pipe() as (told, telling), output_pipe() as (said, saying):
                with telling, saying:
                    process = await self._start(words, lives, telling, saying)
                try:
                    yield process, told, said
                finally:
                    await _end(process)
        finally:
            os.close(lives)
            os.close(held)

    async def _start(
        self, words: Sequence[str], lives: int, telling: BinaryIO, saying: BinaryIO
    ) -> asyncio.subprocess.Process:
        program = shutil.which("git")
        if program is None:
            raise InvalidInputError("`git` cannot be run, and the task fetches a commit", hint="install it")
        allowed = f"protocol.{self.protocol}.allow=always"
        settings = [word for setting in (*_SETTINGS, allowed) for word in ("-c", setting)]
        late = self.seconds + _LATE_SECONDS
        limits = map(str, (lives, late, self.largest_bytes, MEMORY_BYTES))
        return await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", _BOUNDED, *limits, program, *settings, *words,
            cwd=self.folder, env=self._environment(), start_new_session=True, pass_fds=(lives,),
            stdin=asyncio.subprocess.DEVNULL, stdout=telling, stderr=saying,
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        return {name: os.environ[name] for name in _PASSED if name in os.environ} | {
            "HOME": self.folder,
            "LC_ALL": "C",
            "GIT_ALLOW_PROTOCOL": self.protocol,
            "GIT_ASKPASS": "/bin/false",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
        }


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the whole group: helpers may outlive git, and the process beside it keeps the group's number."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _ended(code: int | None) -> str:
    return f"git ended with {code}" if code is None or code >= 0 else f"git was ended by signal {-code}"
