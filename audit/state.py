"""Where the ledger's files lie beneath a state folder; the folder itself is always handed in."""

import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from audit.errors import BrokenLedgerError, StateFolderError, UnknownSessionError
from audit.escape import escape_line
from audit.local_disk import check_filesystem
from audit.segments import text_in

FORMAT = "1"
ID_PATTERN = re.compile(r"[0-9a-hjkmnp-tv-z]{12}")
SHORTEST_PREFIX = 4
_PRIVATE_FOLDER = 0o700
_PRIVATE_FILE = 0o600


@dataclass(frozen=True, slots=True)
class SessionFiles:
    """The ledger's files of one session.

    Attributes:
        folder: ``<state>/sessions/<id>``.
    """

    folder: Path

    @property
    def events(self) -> Path:
        """Return the first segment of the session's log."""
        return self.folder / "events.jsonl"

    @property
    def openings(self) -> Path:
        """Return the salts and values of commitments."""
        return self.folder / "openings.jsonl"

    @property
    def blobs(self) -> Path:
        """Return the folder of large bodies."""
        return self.folder / "blobs"

    @property
    def lock(self) -> Path:
        """Return the file that the session's writer holds locked."""
        return self.folder / "writer.lock"

    def segment(self, number: int) -> Path:
        """Return a segment's file; number 0 has no suffix."""
        return self.events if number == 0 else self.folder / f"events.jsonl.{number}"

    def segments(self) -> list[tuple[int, Path]]:
        """Return the segments that are there, oldest first."""
        found = [(0, self.events)] if self.events.is_symlink() or self.events.exists() else []
        for path in self.folder.glob("events.jsonl.*"):
            suffix = path.name.removeprefix("events.jsonl.")
            if suffix.isascii() and suffix.isdecimal() and str(int(suffix)) == suffix and suffix != "0":
                found.append((int(suffix), path))
        return sorted(found)


@dataclass(frozen=True, slots=True)
class StateFiles:
    """The ledger's files of one host.

    Attributes:
        folder: The state folder.
    """

    folder: Path

    @property
    def format(self) -> Path:
        """Return the file that holds the state's version."""
        return self.folder / "format"

    @property
    def log(self) -> Path:
        """Return the host's own log."""
        return self.folder / "ledger.jsonl"

    @property
    def checkpoint(self) -> Path:
        """Return the signed checkpoint of the host's log."""
        return self.folder / "checkpoint"

    @property
    def next_checkpoint(self) -> Path:
        """Return the checkpoint that is signed before the line that it covers is written."""
        return self.folder / "checkpoint.next"

    @property
    def lock(self) -> Path:
        """Return the file that whoever appends to the host's log holds locked."""
        return self.folder / "ledger.lock"

    @property
    def host_key(self) -> Path:
        """Return the host's private key."""
        return self.folder / "host.key"

    @property
    def next_host_key(self) -> Path:
        """Return the private key that a rotation is about to put in place."""
        return self.folder / "host.key.next"

    @property
    def host_vkey(self) -> Path:
        """Return the host's public key, which people pin."""
        return self.folder / "host.vkey"

    @property
    def pinned_vkey(self) -> Path:
        """Return the public key that this user has pinned."""
        return self.folder / "pinned.vkey"

    @property
    def redaction_key(self) -> Path:
        """Return the secret under which tags of secrets are made."""
        return self.folder / "redaction.key"

    @property
    def sessions(self) -> Path:
        """Return the folder of all sessions."""
        return self.folder / "sessions"

    def session(self, session_id: str) -> SessionFiles:
        """Return the files of a session.

        Args:
            session_id: A whole id.

        Raises:
            UnknownSessionError: When it is not of the form of an id, so that it can never lead out of the
            folder.
        """
        return SessionFiles(self.sessions / checked_id(session_id))

    def session_ids(self) -> Iterator[str]:
        """Yield the ids of the sessions that have a folder, in no particular order."""
        if self.sessions.is_dir():
            with os.scandir(self.sessions) as entries:
                names = [entry.name for entry in entries]
            yield from (name for name in names if ID_PATTERN.fullmatch(name))

    def any_session_was_begun(self) -> bool:
        """Tell whether a session has a file of its ledger."""
        return any(self.session(session_id).segments() for session_id in self.session_ids())


def checked_id(session_id: str) -> str:
    """Return the id if it is one.

    Raises:
        UnknownSessionError: When it is not 12 lowercase Crockford base32 characters.
    """
    if not ID_PATTERN.fullmatch(session_id):
        shown = escape_line(session_id, width=40)
        raise UnknownSessionError(
            f"`{shown}` is not a session id", hint="12 characters of 0-9 and a-z without i, l, o, u"
        )
    return session_id


def prepare(state: Path) -> StateFiles:
    """Make the state folder if need be, and return its files.

    Args:
        state: The state folder.

    Raises:
        StateFolderError: When it belongs to someone else, lets others write, is of another format, is not
            on a local disk, or cannot be made or written.
    """
    try:
        return _prepared(state)
    except OSError as error:
        why = (error.strerror or "unknown error").lower()
        raise StateFolderError(
            f"state folder `{state}` cannot be made or written: {why}",
            hint="PAIRLOCK_STATE names another place for it",
        ) from error


def _prepared(state: Path) -> StateFiles:
    files = StateFiles(state)
    state.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    found = state.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise StateFolderError(
            f"state folder `{state}` is not private to you",
            hint="chmod 700, and owned by the user who runs pairlock",
        )
    check_format(files)
    check_filesystem(state)
    if not files.format.exists():
        write_private(files.format, f"{FORMAT}\n".encode())
    files.sessions.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    return files


def openness(state: Path) -> str:
    """Return what lets others than its owner into a state folder, in a few words; empty when nothing does.

    Whoever can write there can swap files while they are read. A bundle or a copy may well lie open.

    Args:
        state: The state folder, or a copy of one.
    """
    found = state.stat()
    if found.st_mode & 0o022:
        return f"`{state}` can be written by others (mode {stat.S_IMODE(found.st_mode):04o})"
    return "" if found.st_uid in (0, os.geteuid()) else f"`{state}` belongs to uid {found.st_uid}"


def check_format(files: StateFiles) -> None:
    """Check that the state is of the format that this version reads; a missing mark is a new folder.

    Raises:
        StateFolderError: When it is of any other.
    """
    try:
        text = text_in(files.format)
    except BrokenLedgerError as error:
        raise StateFolderError(f"state folder `{files.folder}`: {error}") from error
    if text is not None and text.strip() != FORMAT:
        found = escape_line(text.strip(), width=20)
        raise StateFolderError(
            f"state folder `{files.folder}` has format `{found}`, expected `{FORMAT}`",
            hint="it was written by another version of pairlock",
        )


def make_private_folder(path: Path) -> None:
    """Make a folder that only its owner can enter, and make its name durable."""
    path.mkdir(mode=_PRIVATE_FOLDER, parents=True)
    sync_folder(path.parent)


def write_private(path: Path, content: bytes) -> None:
    """Write a file as a whole, durably, for its owner only: a new file takes the place of the old one.

    Args:
        path: Where it goes.
        content: All of it.
    """
    # A name of this call's own: two sessions of one process, in threads, may write the same file at once.
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.new")
    descriptor = os.open(
        fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, _PRIVATE_FILE
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
