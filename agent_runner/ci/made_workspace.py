"""Make the workspace that a task describes: a commit of a repository, or copies of files. Nothing runs.

git runs on the host, and what it fetches is untrusted: one protocol, no redirect, no hook, no submodule, no
configuration but ours (so that attributes name no filter), every object checked, the commit's hash compared.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

from agent_runner.ci.process import tail_of
from agent_runner.errors import InvalidInputError
from agent_runner.lineage import labels_of, removed, wrote_unreviewed
from agent_runner.lineage_places import near
from agent_runner.policy_file import resolved
from audit.escape import escape_line
from policies.grant import Grant
from sandbox.stage.discard import remove_tree
from sandbox.workspace import identity_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.ci.reading import Task
    from agent_runner.ci.task import Checkout

Protocol = Literal["https", "file"]
LONGEST_SECONDS: Final = 600
LARGEST_FILE: Final = 4 * 1024 * 1024 * 1024
"""Bytes of each file that git writes, a pack among them."""
LARGEST_INPUTS: Final = 1024 * 1024 * 1024
"""Bytes, of all inputs of a task together."""
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
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
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(sys.argv[3], sys.argv[3:])
"""
"""Becomes git: it ends with whoever started it, and a file that grows too large is an error of its own."""


async def with_workspace(task: Task, target: Path, *, state: Path) -> Task:
    """Return a task with the workspace that it describes; as it is, where it names a folder or none.

    Args:
        task: The task.
        target: Where a workspace is made; what is there is replaced.
        state: The state folder: what is copied takes the labels along that count where it was.

    Raises:
        InvalidInputError: When a commit cannot be had, or an input is none.
    """
    if task.file.checkout is None and not task.file.inputs:
        return task
    await asyncio.to_thread(_new_folder, target, state)
    if task.file.checkout is not None:
        await fetch_commit(task.file.checkout, target)
    else:
        folder = resolved(Path(task.origin)).parent
        await asyncio.to_thread(_label, task.file.inputs, folder, target, state)
        await asyncio.to_thread(copy_inputs, task.file.inputs, folder, target)
    return replace(task, workspace=target)


def _new_folder(target: Path, state: Path) -> None:
    if target.is_dir():  # what a killed process left
        identity = identity_of(target)
        remove_tree(target)
        removed(state, identity)
    target.mkdir(mode=0o700)


async def fetch_commit(
    source: Checkout, target: Path, *, protocol: Protocol = "https", largest: int = LARGEST_FILE
) -> None:
    """Write the files of a commit into an empty folder, without the repository around them.

    Args:
        source: Which.
        target: The folder.
        protocol: The one that may be spoken; `file` is for tests.
        largest: Bytes of each file that git may write.

    Raises:
        InvalidInputError: When it cannot be fetched, or is another commit than was asked for.
    """
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=target.parent) as around:
        folder = Path(around, "repository")
        await _git(["init", "--quiet", "--bare", "--template=", str(folder)], around, protocol, largest)
        at = ["--git-dir", str(folder)]
        wanted = f"+{source.commit}:refs/heads/wanted"
        await _git(
            [*at, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules",
             "--no-auto-maintenance", "--", source.git, wanted],
            around, protocol, largest,
        )  # fmt: skip
        asked = [*at, "rev-parse", "--verify", "refs/heads/wanted^{commit}"]
        found = (await _git(asked, around, protocol, largest)).strip()
        if found != source.commit:
            raise InvalidInputError(
                f"`{source.git}` gave commit `{escape_line(found, width=64)}`, expected `{source.commit}`"
            )
        await _git(
            [*at, "--work-tree", str(target), "checkout", "--quiet", "--force", found, "--", "."],
            around,
            protocol,
            largest,
        )


async def _git(words: Sequence[str], around: str, protocol: Protocol, largest: int) -> str:
    """Run git with nothing of the user's, and return what it printed."""
    settings = [
        word for setting in (*_SETTINGS, f"protocol.{protocol}.allow=always") for word in ("-c", setting)
    ]
    environment = {name: os.environ[name] for name in _PASSED if name in os.environ} | {
        "HOME": around,
        "LC_ALL": "C",
        "GIT_ALLOW_PROTOCOL": protocol,
        "GIT_ASKPASS": "/bin/false",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    program = shutil.which("git")
    if program is None:
        raise InvalidInputError("`git` cannot be run, and the task fetches a commit", hint="install it")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", _BOUNDED, str(os.getpid()), str(largest), program, *settings, *words,
        cwd=around, env=environment, start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    streams = [cast("asyncio.StreamReader", each) for each in (process.stdout, process.stderr)]
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            told, said = await asyncio.gather(*map(tail_of, streams))
            await process.wait()
    except TimeoutError as error:
        raise InvalidInputError(f"git took longer than {LONGEST_SECONDS} s to fetch a commit") from error
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its helpers are in the same group
            await process.wait()
    if process.returncode != 0:
        why = escape_line(said.decode("utf-8", "replace").strip().rpartition("\n")[2], width=200)
        raise InvalidInputError(
            f"the commit cannot be fetched: {why}", hint="its server has to give it by hash"
        )
    return told.decode("ascii", "replace")


def _label(paths: Sequence[str], folder: Path, target: Path, state: Path) -> None:
    """Let everything count for the copies, before there are any, that counts where the files are."""
    labels, identity = labels_of(state), identity_of(target)
    for around in dict.fromkeys(Path(os.path.realpath(folder / path)).parent for path in paths):
        if not around.is_dir():
            continue  # the input is not there, which is told when it is copied
        for part in near(labels, identity_of(around)).whole.contributions:
            why = "inputs of a task were copied from a labelled folder"
            wrote_unreviewed(state, identity, part.session, Grant.of(part.exercised), why=why)


def copy_inputs(paths: Sequence[str], folder: Path, target: Path) -> None:
    """Copy files into an empty folder, each under its own last name.

    Args:
        paths: Relative to the task file's folder.
        folder: That folder.
        target: Where the copies go.

    Raises:
        InvalidInputError: When one is no plain file, is reached through a link, or all are too large.
    """
    left = LARGEST_INPUTS
    for path in paths:
        place = Path(os.path.normpath(folder / path))
        if str(place) != os.path.realpath(place):
            raise InvalidInputError(
                f"input `{path}` is reached through a symlink", hint="name the file itself"
            )
        try:
            # A pipe has no writer to wait for; what it is shows afterwards.
            with os.fdopen(
                os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb"
            ) as source:
                told = os.fstat(source.fileno())
                left -= told.st_size
                if not stat.S_ISREG(told.st_mode):
                    raise InvalidInputError(f"input `{path}` is no plain file")
                if left < 0:
                    raise InvalidInputError(f"the inputs have more than {LARGEST_INPUTS} bytes together")
                with os.fdopen(os.open(target / place.name, _NEW, 0o600), "wb") as out:
                    shutil.copyfileobj(source, out)
        except OSError as error:
            raise InvalidInputError(
                f"input `{path}` cannot be read: {str(error.strerror).lower()}"
            ) from error
