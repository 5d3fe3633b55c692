"""The host's log: the index of sessions, appended to by many processes, signed again at each line.

INVARIANT: no line is ever signed that its writer did not write. The checkpoint over a line is signed and
stored as ``checkpoint.next`` before the line itself is written; a line that neither checkpoint covers is
somebody else's.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Self

from audit.appendfile import AppendFile, spoken
from audit.chain import Chain
from audit.clock import Clock, SystemClock
from audit.encode import Encoder
from audit.errors import (
    BadSignatureError,
    BrokenLedgerError,
    LedgerDeadError,
    LedgerError,
    LedgerLostError,
    MalformedLineError,
)
from audit.fields import Event
from audit.host_event import HostOpened, HostRecovered, KeyRotated
from audit.keys import finish_rotation, host_key, make_host_key, next_host_key, prepare_rotation
from audit.lock import held_alone
from audit.note import Checkpoint, SignerKey, open_checkpoint, sign
from audit.openings import Opening, write_blob
from audit.segments import text_in
from audit.state import SessionFiles, StateFiles, prepare, write_private

_RESERVE_BYTES = 64 * 1024


class Receipt(NamedTuple):
    """Says that an entry is durable.

    Attributes:
        seq: Its place in the log.
        leaf: Its leaf hash.
    """

    seq: int
    leaf: bytes


def host_origin(name: str) -> str:
    """Return the name of the host's log.

    Args:
        name: The name of the host's first key.
    """
    return f"pairlock/host/{name}"


class HostLog:
    """The host's log, open for appending.

    Args:
        state: The state folder; made on first use, with a key.
        clock: Where time comes from.
        writer: The version of pairlock that writes.

    Raises:
        LedgerError: When it cannot be written.
        BrokenLedgerError: When what is there does not verify; nothing is appended to such a log.
    """

    def __init__(self, state: Path, *, clock: Clock | None = None, writer: str = "") -> None:
        self.files: StateFiles = prepare(state)
        self._encoder = Encoder(clock or SystemClock())
        self._writer = writer
        self._threads = threading.Lock()
        self._closed = False
        self._file: AppendFile | None = None
        self._chain: Chain | None = None
        self._offset = 0
        self._origin = ""
        try:
            with self._locked():
                self._catch_up()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; the log stays."""
        if self._file is not None:
            self._file.close(trim=False)
            self._file = None
        self._closed = True

    @property
    def origin(self) -> str:
        """Return the log's name, as its checkpoints bear it."""
        return self._origin

    def append(self, event: Event) -> Receipt:
        """Add one entry; when this returns, it and the checkpoint over it are durable.

        Args:
            event: One of the host's types.

        Raises:
            LedgerError: When it cannot be written.
            BrokenLedgerError: When what others appended does not verify.
        """
        with self._locked():
            self._catch_up()
            return self._write(event, [host_key(self.files)])

    def rotate(self) -> SignerKey:
        """Hand the log over to a fresh key: the old one vouches for it in an entry. Return the new key.

        Raises:
            LedgerError: When it cannot be written; the old key then stays in force.
        """
        with self._locked():
            self._catch_up()
            old, fresh = host_key(self.files), prepare_rotation(self.files)
            before = self._standing().checkpoint(self._origin, f"next {fresh.verifier}")
            event = KeyRotated(
                old_vkey=str(old.verifier), new_vkey=str(fresh.verifier), note=sign(before.text(), [old])
            )
            self._write(event, [old, fresh])
            finish_rotation(self.files, fresh)
            return fresh

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._threads:
            if self._closed:
                raise LedgerDeadError("the host's log is closed")
            try:
                with held_alone(self.files.lock):
                    yield
            except OSError as error:
                raise spoken(error, self.files.log) from error

    def _standing(self) -> Chain:
        if self._chain is None:
            raise LedgerError("the host's log has not been read")
        return self._chain

    def _catch_up(self) -> None:
        """Read and verify what is new since the last time; make the log when there is none."""
        empty = not self.files.log.exists() or self.files.log.stat().st_size == 0
        if not empty:
            self._read_on(self._key_in_force())
        elif self._file is None and not self._was_there():
            self._make()
        else:
            raise LedgerLostError(
                "the host's log is gone", hint="restore it, or start with another state folder"
            )

    def _was_there(self) -> bool:
        """Tell whether this host has had a log: a session's first line is written after the host's."""
        return self.files.checkpoint.exists() or self.files.any_session_was_begun()

    def _key_in_force(self) -> SignerKey:
        """Return the key that signs, finishing or forgetting a rotation that a crash has cut short."""
        fresh = next_host_key(self.files)
        if fresh is None:
            return host_key(self.files)
        coming, old = self._foreseen(fresh), host_key(self.files)
        if coming is not None and coming.size == self.files.log.read_bytes().count(b"\n"):
            self.files.next_checkpoint.rename(self.files.checkpoint)  # the old key's is no use to the new
        with suppress(BadSignatureError):
            if self._signed(self.files.checkpoint, fresh) is not None:
                finish_rotation(self.files, fresh)
                return fresh
        if self._signed(self.files.checkpoint, old) is None:  # a key that may be in force is not thrown away
            raise self._broken("nothing signs it", 0)
        self.files.next_host_key.unlink()
        return old

    def _make(self) -> None:
        key = host_key(self.files) if self.files.host_key.exists() else make_host_key(self.files)
        self._origin = host_origin(key.name)
        self._chain = Chain.start(self._origin)
        self._write(HostOpened(name=key.name, vkey=str(key.verifier), writer=self._writer), [key])

    def _read_on(self, key: SignerKey) -> None:
        signed = self._signed(self.files.checkpoint, key)
        coming = self._foreseen(key)
        self._origin = self._origin_of(signed or coming)
        chain = self._chain.copy() if self._chain else Chain.start(self._origin)
        torn = self._take_new(chain, signed, coming)
        self._chain = chain
        self._opened().adopt(self._offset + len(torn))
        if chain.size > (signed.size if signed else 0):
            self.files.next_checkpoint.rename(self.files.checkpoint)
        if torn:
            self._cut(torn, key)

    def _cut(self, torn: bytes, key: SignerKey) -> None:
        self._opened().truncate(self._offset)
        if self._standing().size == 0:
            self._make()
            return
        digest = sha256(torn).hexdigest()
        self._write(HostRecovered(dropped_bytes=len(torn), dropped_sha256=digest), [key])

    def _origin_of(self, signed: Checkpoint | None) -> str:
        if signed is None:
            raise self._broken("nothing signs it", 0)
        return signed.origin

    def _opened(self) -> AppendFile:
        if self._file is None:
            self._file = AppendFile(self.files.log, reserve_bytes=_RESERVE_BYTES)
        return self._file

    def _take_new(self, chain: Chain, signed: Checkpoint | None, coming: Checkpoint | None) -> bytes:
        """Walk the new lines up to the end, hold them against the checkpoints, return a torn tail's bytes."""
        *lines, torn = self._opened().read_from(self._offset).split(b"\n")
        size = signed.size if signed else 0
        if chain.size > size + 1 or (chain.size > size and not coming):
            raise self._broken("its checkpoint is older than what was seen before", size)
        if chain.size == size:
            self._hold_against(chain, signed)
        for line in lines:
            chain.take(line)
            if chain.size == size:
                self._hold_against(chain, signed)
        self._check_size(chain, size, coming)
        self._offset += sum(len(line) + 1 for line in lines)
        return torn

    def _check_size(self, chain: Chain, size: int, coming: Checkpoint | None) -> None:
        """Check that the file ends where the checkpoint says, or one line later and foreseen."""
        if chain.size < size:
            raise self._broken(
                f"its checkpoint covers {size} entries, the file holds {chain.size}", chain.size
            )
        if chain.size == size:
            return
        if coming is None or coming.size != chain.size or chain.size != size + 1:
            raise self._broken(f"no checkpoint covers entry {size}", size)
        self._hold_against(chain, coming)

    def _hold_against(self, chain: Chain, signed: Checkpoint | None) -> None:
        if signed is not None and chain.frontier.root() != signed.root:
            raise self._broken("it is not what its checkpoint signs", None)

    def _broken(self, why: str, seq: int | None) -> BrokenLedgerError:
        return BrokenLedgerError(f"the host's log is broken: {why}", path=self.files.log, seq=seq)

    def _signed(self, path: Path, key: SignerKey) -> Checkpoint | None:
        note = text_in(path)
        return None if note is None else open_checkpoint(note, key.verifier)

    def _foreseen(self, key: SignerKey) -> Checkpoint | None:
        """Return what was signed in advance; what the key has not signed counts as if it were not there."""
        with suppress(BadSignatureError, MalformedLineError):
            return self._signed(self.files.next_checkpoint, key)
        return None

    def _write(self, event: Event, keys: list[SignerKey]) -> Receipt:
        rest, opening = self._encoder.encode(event)
        if opening is not None:
            self._keep(opening)
        draft = self._standing().copy()
        line = draft.add(rest)
        note = sign(draft.checkpoint(self._origin).text(), keys)
        write_private(self.files.next_checkpoint, note.encode("utf-8"))
        self._opened().append(line + b"\n")
        self.files.next_checkpoint.rename(self.files.checkpoint)
        self._chain = draft
        self._offset += len(line) + 1
        return Receipt(draft.size - 1, draft.head)

    def _keep(self, opening: Opening) -> None:
        here = SessionFiles(self.files.folder)
        if opening.is_large():
            write_blob(here, opening)
        table = AppendFile(here.openings, reserve_bytes=0)
        try:
            table.append(opening.line())
        finally:
            table.close()
