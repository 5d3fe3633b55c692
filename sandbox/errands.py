"""Name what is made on the way and is no session's, so that `clean` finds what a killed process left of it.

That is a container which is never started (a volume is filled through it, an image looked at), one that
empties a folder, and an image that is not written down yet. The name says whose it is; labels would not do,
for an image takes over those of the container that it is made of. Whoever makes such a thing holds a lock
meanwhile, which goes with its process.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from audit.lock import is_held
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAKING: Final = "pairlock/making"
"""Repository of images that are not written down yet."""
CONTAINER: Final = "pairlock-errand-"
"""How the names of such containers begin."""
_NOBODY: Final = "0" * 16
_BATTERY: Final = re.compile(r"probe-([0-9a-f]{16})-[0-9]{1,4}")
_FORM: Final = re.compile(r"/?(?:pairlock-errand-|pairlock/making:)([0-9a-f]{16})-([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Errand:
    """One thing that is made on the way."""

    label: str
    """The state folder's."""
    token: str
    """16 random hexadecimal digits; the name of the lock."""

    @property
    def container(self) -> str:
        """What a container is called."""
        return f"{CONTAINER}{self.label}-{self.token}"

    def battery(self, number: int) -> str:
        """Return what stands in place of a session for one battery of `doctor --probe`."""
        return f"probe-{self.token}-{number}"

    @property
    def image(self) -> str:
        """What an image is called until it is written down."""
        return f"{MAKING}:{self.label}-{self.token}"


class Errands:
    """The errands of one state folder.

    Args:
        state: The state folder; None for whoever has none, whose errands only he can find again.
        label: Its label.
    """

    def __init__(self, state: Path | None = None, label: str = _NOBODY) -> None:
        self._folder = state / "errands" if state is not None else None
        self._label = label

    @contextmanager
    def begun(self) -> Iterator[Errand]:
        """Give the names of one errand; nobody takes it for a dead one's until the end.

        Raises:
            SandboxError: When the state folder cannot be written.
        """
        if self._folder is None:
            yield Errand(self._label, secrets.token_hex(8))
            return
        try:
            path, descriptor = _locked(self._folder)
        except OSError as error:
            why = (error.strerror or "it is no folder of yours").lower()
            raise SandboxError(
                f"`{self._folder}` cannot be written: {why}", hint="look at the state folder's owner and disk"
            ) from error
        try:
            yield Errand(self._label, path.name)
        finally:
            _let_go(path, descriptor)

    def dead(self, name: str) -> bool:
        """Tell whether a container or an image is an errand of this state folder whose process is gone."""
        found = _FORM.fullmatch(name)
        if found is None or found[1] != self._label or self._folder is None:
            return False
        return not is_held(self._folder / found[2])

    def probing(self, session: str) -> bool:
        """Tell whether a container is that of a battery whose process lives, by its session."""
        found = _BATTERY.fullmatch(session)
        return found is not None and self._folder is not None and is_held(self._folder / found[1])

    def forget(self) -> None:
        """Remove the locks of processes that are gone."""
        if self._folder is None or not self._folder.is_dir():
            return
        for lock in self._folder.iterdir():
            _forget(lock)


def _forget(lock: Path) -> None:
    """Remove a lock that nobody holds; it is held meanwhile, for its maker may just be about to."""
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.unlink(missing_ok=True)
    except OSError:
        return
    finally:
        os.close(descriptor)


def _locked(folder: Path) -> tuple[Path, int]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        path = folder / secrets.token_hex(8)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.exists():
                    return path, descriptor
        except BaseException:
            _let_go(path, descriptor)
            raise
        _let_go(path, descriptor)  # `forget` came between, and takes it for a dead one's: it may be stopped


def _let_go(path: Path, descriptor: int) -> None:
    """Remove a lock that this process holds; one that cannot be removed is left for `forget`."""
    try:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
