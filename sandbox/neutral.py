"""Name this machine's folders for a mount: neutral names, and proof that the engine mounts those folders.

`/proc/self/mountinfo` shows an overlay's layers as they were written in its options: a home folder's path, a
user's name, a project's. So the options name links instead, in a private folder with a random name.

A socket of this machine does not mean that the engine's paths are its paths: it may live in another mount
namespace, container or machine. So a link leads through this process's own open descriptor, `/proc/PID/fd/N`:
an engine that follows it mounts the very folder that was opened here, device and inode, or finds nothing.
That `/proc/PID` is this process there too is shown in the same way: the first link goes through a descriptor
of the folder with the random name to a second link, which stands nowhere else.
See docs/decisions/mounts-through-descriptors.md.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from audit.errors import LedgerError
from audit.lock import take
from audit.waiting import let_go
from sandbox.errors import SandboxError
from sandbox.runtime_folder import made_private, require_private, runtime_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sandbox.workspace import WorkspaceIdentity

_FOLDER_NAME: Final = "pairlock-mounts"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NeutralNames:
    """Links to folders, until the mount is made.

    Args:
        folder: A folder of this object's own.
        lock: A descriptor that holds the folder locked, by which others know that it is in use.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self._folder = folder
        self._named: dict[Path, Path] = {}
        self._descriptors: list[int] = [lock]
        self._gate = self._through_descriptor(folder)

    @classmethod
    def make(cls, environment: Mapping[str, str] = os.environ) -> NeutralNames:
        """Make the folder, in the user's runtime folder or else in one of our own below /tmp.

        Raises:
            SandboxError: When somebody else owns what should be ours.
        """
        above = made_private(runtime_folder(_FOLDER_NAME, environment))
        with _locked(above):
            _sweep(above)
            folder = above / secrets.token_hex(8)
            folder.mkdir(mode=0o700)
            lock = os.open(folder, _FOLDER)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody sweeps meanwhile
        return cls(folder, lock)

    @classmethod
    async def made(cls) -> NeutralNames:
        """Make the folder in a thread: whoever holds the one above may be stopped, and leases are to be kept.

        Cancelled, it leaves nothing.

        Raises:
            SandboxError: As `make` does.
        """
        making = asyncio.ensure_future(asyncio.to_thread(cls.make))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(_unmade)
            raise

    def name(self, path: Path, *, expected: WorkspaceIdentity | None = None) -> Path:
        """Return a link to a folder; the same one each time.

        Args:
            path: The folder; no symlink.
            expected: Which folder it must be, where that is known.

        Raises:
            SandboxError: When the folder cannot be opened, or is a link by now.
        """
        if path not in self._named:
            number, inner = len(self._named), secrets.token_hex(16)
            (self._folder / inner).symlink_to(self._through_descriptor(path, expected))
            link = self._folder / f"{number}"
            link.symlink_to(self._gate / inner, target_is_directory=True)
            self._named[path] = link
        return self._named[path]

    def remove(self) -> None:
        """Remove the links; a mount that was made through them stays."""
        shutil.rmtree(self._folder, ignore_errors=True)
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _through_descriptor(self, path: Path, expected: WorkspaceIdentity | None = None) -> Path:
        """Open a folder and return the path by which the kernel leads anybody else to it."""
        try:
            descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise SandboxError(f"`{path}` cannot be opened: {error.strerror}") from error
        self._descriptors.append(descriptor)
        if expected is not None:
            require_identity(descriptor, expected)
        return Path(f"/proc/{os.getpid()}/fd/{descriptor}")


def _unmade(making: asyncio.Future[NeutralNames]) -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().remove()


def require_identity(descriptor: int, expected: WorkspaceIdentity) -> None:
    """See to it that an open folder is the one that was looked at before.

    Raises:
        SandboxError: When another folder stands at its path by now.
    """
    status = os.fstat(descriptor)
    if (status.st_dev, status.st_ino) != (expected.device, expected.inode):
        raise SandboxError(
            f"another folder stands at `{expected.path}` than a moment ago", hint="start again"
        )


def sweep_names(environment: Mapping[str, str] = os.environ, *, remove: bool = True) -> tuple[str, ...]:
    """Remove the links that runners left which were killed, and return the folders they were in.

    Args:
        environment: Says where they are.
        remove: False only looks.

    Raises:
        SandboxError: When somebody else owns what should be ours.
    """
    above = runtime_folder(_FOLDER_NAME, environment)
    if not os.path.lexists(above):
        return ()
    require_private(above)
    with _locked(above):
        return _sweep(above, remove=remove)


def _sweep(above: Path, *, remove: bool = True) -> tuple[str, ...]:
    """Remove folders of links that nobody holds locked any more."""
    removed = []
    for folder in above.iterdir():
        try:
            descriptor = os.open(folder, _FOLDER)
        except OSError:  # a socket, or somebody else sweeps too
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if remove:
                shutil.rmtree(folder)
            removed.append(str(folder))
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return tuple(removed)


@contextmanager
def _locked(above: Path) -> Iterator[None]:
    """Keep others from sweeping away what has just been made and is not locked yet."""
    descriptor = os.open(above, _FOLDER)
    try:
        take(descriptor, str(above))
    except LedgerError as error:
        raise SandboxError(error.message, hint=error.hint) from error
    try:
        yield
    finally:
        let_go(descriptor)
