"""The keys of a host: made on first use, kept in private files, pinned by people; none leaves its file."""

import os
import secrets
import stat
from pathlib import Path

from audit.errors import BadKeyError, StateFolderError
from audit.note import SignerKey, VerifierKey, is_private
from audit.segments import text_in
from audit.state import StateFiles, sync_folder, write_private

_SECRET_BYTES = 32
_LONGEST_SECRET = 4096  # bytes of a private file
_SPELLING = (
    "`name+id+base64`, as in `pairlock-5b21ada6+0c4d1f7e+Aa3f...`; `pairlock audit key show` prints it"
)


def host_key(files: StateFiles) -> SignerKey:
    """Return the host's signing key.

    Raises:
        BadKeyError: When there is none, or the file holds none.
        StateFolderError: When others may read the file.
    """
    return SignerKey.parse(_private_text(files.host_key))


def next_host_key(files: StateFiles) -> SignerKey | None:
    """Return the key that a rotation was about to put in the old one's place; None when there is none."""
    return SignerKey.parse(_private_text(files.next_host_key)) if files.next_host_key.exists() else None


def make_host_key(files: StateFiles) -> SignerKey:
    """Make the host's first key, write both halves, return it; its random name tells nothing."""
    key = SignerKey.make(f"pairlock-{secrets.token_hex(4)}", secrets.token_bytes(_SECRET_BYTES))
    store_host_key(files, key)
    return key


def store_host_key(files: StateFiles, key: SignerKey) -> None:
    """Write both halves of the host's key."""
    write_private(files.host_key, f"{key.secret_text()}\n".encode())
    write_private(files.host_vkey, f"{key.verifier}\n".encode())


def prepare_rotation(files: StateFiles) -> SignerKey:
    """Make the key that will follow the host's present one, and write it beside that."""
    key = SignerKey.make(f"pairlock-{secrets.token_hex(4)}", secrets.token_bytes(_SECRET_BYTES))
    write_private(files.next_host_key, f"{key.secret_text()}\n".encode())
    return key


def finish_rotation(files: StateFiles, key: SignerKey) -> None:
    """Put the new key in the old one's place."""
    write_private(files.host_vkey, f"{key.verifier}\n".encode())
    files.next_host_key.rename(files.host_key)
    sync_folder(files.folder)


def host_vkey(files: StateFiles) -> VerifierKey | None:
    """Return the public key that the state folder claims; None when there is none.

    Raises:
        BadKeyError: When the file holds no key.
        BrokenLedgerError: When it is no regular file, or cannot be read.
    """
    return _public_key_in(files.host_vkey)


def session_key(session_id: str, epoch: int) -> SignerKey:
    """Return a fresh key that lives in memory only and seals one session's log for one epoch."""
    return SignerKey.make(f"pairlock/session/{session_id}/{epoch}", secrets.token_bytes(_SECRET_BYTES))


def pin(files: StateFiles, text: str) -> VerifierKey:
    """Pin a host's public key for this user.

    Args:
        files: The state's files.
        text: The key, in the signed-note form, as it came from elsewhere.

    Raises:
        BadKeyError: When it is no key.
    """
    key = given_vkey(text)
    write_private(files.pinned_vkey, f"{key}\n".encode())
    return key


def given_vkey(text: str) -> VerifierKey:
    """Return the public key that a person gave.

    Args:
        text: What they gave.

    Raises:
        BadKeyError: When it is none; nothing of it is repeated, as it may be a part of a private key.
    """
    if is_private(text):
        raise BadKeyError("that is a private key", hint="`pairlock audit key show` prints the public one")
    try:
        return VerifierKey.parse(text)
    except BadKeyError:
        raise BadKeyError("that is no public key", hint=_SPELLING) from None


def pinned(files: StateFiles) -> VerifierKey | None:
    """Return the pinned key; None when there is none.

    Raises:
        BadKeyError: When the file holds no key.
        BrokenLedgerError: When it is no regular file, or cannot be read.
    """
    return _public_key_in(files.pinned_vkey)


def _public_key_in(path: Path) -> VerifierKey | None:
    text = text_in(path)
    if text is None:
        return None
    try:
        return VerifierKey.parse(text)
    except BadKeyError as error:
        raise BadKeyError(f"`{path.name}`: {error}") from error


def redaction_key(files: StateFiles) -> bytes:
    """Return the key under which tags of secrets are made, made on first use.

    Raises:
        BadKeyError: When the file holds none: a new one would find no tag that was ever written.
        StateFolderError: When others may read the file, or it is a link.
    """
    path = files.redaction_key
    if not os.path.lexists(path):
        return _made_once(path, secrets.token_bytes(_SECRET_BYTES))
    return _secret_in(path)


def _secret_in(path: Path) -> bytes:
    """Return the secret that a private file spells.

    Raises:
        BadKeyError: When it spells none.
    """
    try:
        found = bytes.fromhex(_private_text(path).strip())
    except ValueError:
        found = b""
    if len(found) != _SECRET_BYTES:
        raise BadKeyError(f"`{path.name}` holds no key")
    return found


def _made_once(path: Path, fresh: bytes) -> bytes:
    """Write the key unless another process was first, and return the one that is there."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    write_private(draft, fresh.hex().encode("ascii") + b"\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        return _secret_in(path)
    finally:
        draft.unlink()
    return fresh


def _private_text(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise BadKeyError(f"there is no `{path.name}`") from error
    except OSError as error:
        raise StateFolderError(f"`{path.name}` cannot be read: {error.strerror}".lower()) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise StateFolderError(f"`{path.name}` is not a regular file")
        if found.st_mode & 0o077 or found.st_uid != os.geteuid():
            raise StateFolderError(f"`{path.name}` can be read by others", hint=f"chmod 600 {path.name}")
        return os.read(descriptor, _LONGEST_SECRET).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
