"""Decide whether a folder may be a workspace, and say which folder it is; nothing here changes it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import pwd
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sandbox.errors import SandboxError

ONLY_ITSELF: Final = ("/", "/home", "/media", "/mnt", "/opt", "/srv", "/tmp", "/usr", "/var", "/var/tmp")  # noqa: S108 - refused, not used
"""Refused themselves; a folder inside may be a workspace unless it is listed below."""

WITH_ALL_INSIDE: Final = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys",
    "/usr/bin", "/usr/include", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/sbin",
    "/usr/share", "/var/cache", "/var/lib/apt", "/var/lib/containerd", "/var/lib/containers",
    "/var/lib/docker", "/var/lib/dpkg", "/var/log", "/var/run", "/var/spool",
)  # fmt: skip
"""Refused with everything inside."""

MEMORY_FOLDER: Final = "/dev/shm"  # noqa: S108 - the one place under /dev where people keep files
SECRET_FOLDERS: Final = (
    ".aws", ".azure", ".config/gcloud", ".config/gh", ".docker", ".gnupg", ".kube", ".password-store", ".ssh",
)  # fmt: skip
"""Folders of a home that hold credentials and nothing else; refused with everything inside."""

ENGINE_SOCKETS: Final = (
    "/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
)  # fmt: skip

_AT_CWD: Final = -100
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_STATX_BTIME: Final = 0x800


class WorkspaceError(SandboxError):
    """Raised when a folder that was asked for cannot be a workspace; exit code 2.

    Args:
        path: The folder as it was asked for.
        reason: Why not: `missing`, `not-a-folder`, `unreadable`, `system`, `home`, `secrets`, `state` or
            `engine`.
        message: One line: what is wrong and what was expected.
        hint: What to do instead.
    """

    def __init__(self, path: str, reason: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceIdentity:
    """Which folder a workspace is, however it is reached."""

    device: int
    """`st_dev` of the folder; may change when the machine starts again."""
    inode: int
    """`st_ino` of the folder."""
    birth_ns: int
    """When the folder was made, nanoseconds since 1970; 0 where the filesystem does not say."""
    path: str
    """The resolved path, at the time it was looked at; empty where the folder is known to be elsewhere."""

    @property
    def key(self) -> str:
        """Return 32 hexadecimal digits that name this folder; the path has no part in it."""
        text = f"{self.device}:{self.inode}:{self.birth_ns}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def same_folder(self, other: WorkspaceIdentity) -> bool:
        """Tell whether both name one folder: moved, reached by a bind mount, or seen before a restart.

        A restart may renumber devices; inode and time of birth together name a folder, and its snapshots.
        """
        if (self.inode, self.birth_ns) != (other.inode, other.birth_ns):
            return False
        return bool(self.birth_ns) or self.device == other.device or self.path == other.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A folder that may be a workspace."""

    path: Path
    """Absolute, every symlink resolved."""
    identity: WorkspaceIdentity
    """Which folder it is."""
    owner_uid: int
    """Who owns the folder itself."""
    owner_gid: int
    """Its group."""


def open_workspace(
    asked: str | Path, *, state: Path, engine_sockets: tuple[str, ...] = ENGINE_SOCKETS
) -> Workspace:
    """Check a folder given on the command line and return it resolved.

    Args:
        asked: The folder as the person wrote it; symlinks are followed before anything is checked.
        state: pairlock's state folder; the workspace must neither hold it nor lie inside it.
        engine_sockets: Sockets of container engines that the workspace must not hold.

    Raises:
        WorkspaceError: When it is missing, not a folder, a system folder, a home, or holds what it must not.
    """
    text = str(asked)
    folder, status = _resolve(text)
    _refuse_system(text, folder, status)
    _refuse_homes(text, folder, status)
    _refuse_state(text, folder, state)
    _refuse_sockets(text, folder, engine_sockets)
    _refuse_unreadable(text, folder)
    identity = WorkspaceIdentity(
        device=status.st_dev,
        inode=status.st_ino,
        birth_ns=birth_ns(str(folder)),
        path=str(folder),
    )
    return Workspace(path=folder, identity=identity, owner_uid=status.st_uid, owner_gid=status.st_gid)


def identity_of(folder: Path) -> WorkspaceIdentity:
    """Return which folder one of pairlock's own is, for its label; nobody asks if it may be a workspace."""
    status = folder.stat()
    return WorkspaceIdentity(
        device=status.st_dev, inode=status.st_ino, birth_ns=birth_ns(str(folder)), path=str(folder.resolve())
    )


def _resolve(text: str) -> tuple[Path, os.stat_result]:
    if not text:
        raise WorkspaceError(text, "missing", "the workspace is empty, expected a folder")
    if "\0" in text:
        raise WorkspaceError(text, "missing", "the workspace's name holds a NUL byte, expected a folder")
    try:
        folder = Path(text).resolve(strict=True)
        status = folder.stat()
    except FileNotFoundError:
        raise WorkspaceError(text, "missing", f"workspace `{shown(text)}` does not exist") from None
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "a loop of symlinks"
        message = f"workspace `{shown(text)}` cannot be opened: {why.lower()}"
        raise WorkspaceError(text, "unreadable", message) from None
    if not stat.S_ISDIR(status.st_mode):
        message = f"workspace `{shown(text)}` is {_kind(status.st_mode)}, expected a folder"
        raise WorkspaceError(text, "not-a-folder", message)
    return folder, status


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "a file"
    return "a socket" if stat.S_ISSOCK(mode) else "a special file"


def _refuse_system(text: str, folder: Path, status: os.stat_result) -> None:
    inside = any(folder.is_relative_to(name) for name in WITH_ALL_INSIDE)
    if inside and folder.is_relative_to(MEMORY_FOLDER) and folder != Path(MEMORY_FOLDER):
        inside = False
    if inside or any(_same(status, name) for name in (*ONLY_ITSELF, *WITH_ALL_INSIDE)):
        raise WorkspaceError(
            text,
            "system",
            f"workspace `{shown(text)}` is the system folder `{shown(str(folder))}`, "
            "expected a project's folder",
            hint="make a folder for the work and pass it with `--workspace`",
        )


def _refuse_homes(text: str, folder: Path, status: os.stat_result) -> None:
    for home in _homes():
        if _same(status, str(home)) or home.is_relative_to(folder):
            raise WorkspaceError(
                text,
                "home",
                f"workspace `{shown(text)}` is or holds the home folder `{shown(str(home))}`, "
                "expected one project's folder",
                hint="pass a folder inside the home with `--workspace`",
            )
        if any(folder.is_relative_to(home / name) for name in SECRET_FOLDERS):
            message = (
                f"workspace `{shown(text)}` lies in a folder of credentials, expected a project's folder"
            )
            raise WorkspaceError(text, "secrets", message)


def _homes() -> tuple[Path, ...]:
    found = {os.environ.get("HOME", "")}
    with suppress(KeyError):  # a uid without an entry, as in many containers
        found.add(pwd.getpwuid(os.getuid()).pw_dir)
    return tuple(sorted({Path(home).resolve() for home in found if home.startswith("/") and home != "/"}))


def _refuse_state(text: str, folder: Path, state: Path) -> None:
    resolved = state.resolve()
    if resolved.is_relative_to(folder) or folder.is_relative_to(resolved):
        raise WorkspaceError(
            text,
            "state",
            f"workspace `{shown(text)}` holds or lies inside the state folder `{shown(str(resolved))}`",
            hint="set `PAIRLOCK_STATE` to a folder outside the workspace",
        )


def _refuse_sockets(text: str, folder: Path, sockets: tuple[str, ...]) -> None:
    for socket in sockets:
        if Path(socket).resolve().is_relative_to(folder):
            message = f"workspace `{shown(text)}` holds the container engine's socket `{shown(socket)}`"
            raise WorkspaceError(text, "engine", message, hint="expected a folder without it")


def _refuse_unreadable(text: str, folder: Path) -> None:
    if not os.access(folder, os.R_OK | os.X_OK):
        message = f"workspace `{shown(text)}` cannot be read by this user"
        raise WorkspaceError(text, "unreadable", message)


def _same(status: os.stat_result, name: str) -> bool:
    """Tell whether `name` is the same folder, a bind mount of it included."""
    try:
        other = os.stat(name)  # noqa: PTH116 - a str of a constant list, thousands of times in tests
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (other.st_dev, other.st_ino)


def shown(text: str) -> str:
    """Return a name with control, bidirectional and undecodable characters escaped, for a message."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def birth_ns(path: str) -> int:
    """Return when a file was made, in nanoseconds since 1970; 0 where kernel or filesystem does not say.

    os.stat has no birth time on Linux, so this asks statx(2); offsets are those of `struct statx`.
    """
    statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    if statx is None:
        return 0
    answer = ctypes.create_string_buffer(256)
    name = ctypes.c_char_p(os.fsencode(path))
    if statx(_AT_CWD, name, _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, answer) != 0:
        return 0
    raw = answer.raw
    if not int.from_bytes(raw[0:4], sys.byteorder) & _STATX_BTIME:
        return 0
    seconds = int.from_bytes(raw[80:88], sys.byteorder, signed=True)
    return seconds * 1_000_000_000 + int.from_bytes(raw[88:92], sys.byteorder)
