"""Run git on the host with nothing of the user's: one protocol, no program that it could be told to start.

What git is given to read is untrusted: a server's answers, a stranger's repository. It is bounded in time, in
memory and in what it writes, and it ends with whoever started it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeVar, cast

from agent_runner.ci.process import tail_of
from agent_runner.errors import InvalidInputError, RunnerError
from audit.escape import escape_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

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
import ctypes, os, resource, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() == int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
    resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[3]),) * 2)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(sys.argv[4], sys.argv[4:])
"""
"""Becomes git: it ends with whoever started it, and a file that grows too large is an error of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """How git is run."""

    folder: str
    """Its working folder, and its home."""
    protocol: Protocol = "https"
    """The one that may be spoken; `file` is for tests."""
    largest_bytes: int
    """Of each file that it may write."""

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
        process = await self._start(words)
        told, said = (cast("asyncio.StreamReader", each) for each in (process.stdout, process.stderr))
        errors = asyncio.ensure_future(tail_of(said))
        try:
            found = await reading(told)
            words_of_it = await errors
            await process.wait()
        finally:
            await _end(process)
            errors.cancel()
        if process.returncode != 0:
            why = words_of_it.decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise RunnerError(
                f"the commit cannot be fetched: {escape_line(why, width=200) or _ended(process.returncode)}",
                hint="its server has to give it by hash",
            )
        return found

    async def _start(self, words: Sequence[str]) -> asyncio.subprocess.Process:
        program = shutil.which("git")
        if program is None:
            raise InvalidInputError("`git` cannot be run, and the task fetches a commit", hint="install it")
        allowed = f"protocol.{self.protocol}.allow=always"
        settings = [word for setting in (*_SETTINGS, allowed) for word in ("-c", setting)]
        limits = (str(os.getpid()), str(self.largest_bytes), str(MEMORY_BYTES))
        return await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", _BOUNDED, *limits, program, *settings, *words,
            cwd=self.folder, env=self._environment(), start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
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
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its helpers are in the same group
        await process.wait()


def _ended(code: int | None) -> str:
    return f"git ended with {code}" if code is None or code >= 0 else f"git was ended by signal {-code}"
