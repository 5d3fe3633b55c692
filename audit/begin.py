"""Begin to write a session's log, for the first time or again: lock, first line, registration."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audit.appendfile import spoken
from audit.batch import Urgency, Waiting
from audit.chain import Chain
from audit.clock import Clock
from audit.encode import Encoder
from audit.errors import AuditError, LedgerMovedError, SessionExistsError, UnknownSessionError
from audit.event import LogOpened, SessionRecovered
from audit.fields import Event
from audit.host import HostLog
from audit.host_event import SessionRegistered, SessionReopened
from audit.keys import redaction_key, session_key
from audit.lock import WriterLock
from audit.note import SignerKey
from audit.recover import Recovered, recover, session_origin
from audit.redact import Redactor
from audit.sealed import End, Sealing
from audit.state import SessionFiles, StateFiles, make_private_folder, prepare
from audit.writer import Tell, Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What the host's index says of a session.

    Attributes:
        grant: The grant's label.
        workspace: The folder on the host; None in a session without files.
        owner_uid: Whose session it is.
        parent: The session that delegated to it.
    """

    grant: str
    workspace: str | None = None
    owner_uid: int = 0
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How a journal is to be opened.

    Attributes:
        registration: What to tell the host's index; None to reopen.
        secrets_by_name: Values that must never reach the ledger.
        clock: Where time comes from.
        writer: The version of pairlock that writes.
        segment_bytes: Begin a new file when the present one is larger.
        in_turn: Whether a caller may write in its own turn; False where others can make the disk slow.
        entries: How many a log has that is reopened; None for as many as there are.
    """

    registration: Registration | None
    secrets_by_name: Mapping[str, str] = field(repr=False)
    clock: Clock
    writer: str
    segment_bytes: int
    in_turn: bool
    entries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Everything that is open while a journal is.

    Attributes:
        writer: The session's writer.
        encoder: From events to lines.
        redactor: Knows the session's secrets.
        host: The host's log.
        lock: The right to be the only writer.
        recovered: What reopening found; None in a new session.
    """

    writer: Writer
    encoder: Encoder
    redactor: Redactor
    host: HostLog
    lock: WriterLock
    recovered: Recovered | None

    def close(self) -> None:
        """Write what waits, seal, and let everything go. Blocks."""
        self.writer.stop()
        self.host.close()
        self.lock.release()


def begin(state: Path, session_id: str, plan: Plan, tell: Tell) -> Opened:
    """Open a session's log for writing. Blocks.

    Args:
        state: The state folder.
        session_id: A whole id.
        plan: How.
        tell: Who is told by the writer.

    Raises:
        SessionExistsError: When a new session has a log already.
        UnknownSessionError: When there is nothing to reopen.
        BrokenLedgerError: When what is there does not verify.
        LedgerMovedError: When it has other than the entries that are expected; nothing was written.
        LedgerError: When it cannot be written.
    """
    try:
        files = prepare(state)
        session = _folder(files, session_id, new=plan.registration is not None)
        lock = WriterLock(session.lock)
    except OSError as error:
        raise spoken(error, state) from error
    try:
        return _Beginning(files, session_id, plan, tell, lock).run()
    except OSError as error:
        lock.release()
        raise spoken(error, session.events) from error
    except BaseException:
        lock.release()
        raise


def _folder(files: StateFiles, session_id: str, *, new: bool) -> SessionFiles:
    session = files.session(session_id)
    there = bool(session.segments())
    if new and there:
        raise SessionExistsError(f"session `{session_id}` has a ledger already")
    if not new and not there:
        raise UnknownSessionError(f"session `{session_id}` has no ledger")
    if not session.folder.is_dir():
        make_private_folder(session.folder)
    return session


class _Beginning:
    def __init__(self, files: StateFiles, session_id: str, plan: Plan, tell: Tell, lock: WriterLock) -> None:
        self._files = files
        self._session_id = session_id
        self._plan = plan
        self._tell = tell
        self._lock = lock
        self._host = HostLog(files.folder, clock=plan.clock, writer=plan.writer)
        self._redactor = Redactor(plan.secrets_by_name, key=redaction_key(files))
        self._encoder = Encoder(plan.clock, redactor=self._redactor)

    def run(self) -> Opened:
        try:
            registration = self._plan.registration
            return self._again() if registration is None else self._new(registration)
        except BaseException:
            self._host.close()
            raise

    def _new(self, registration: Registration) -> Opened:
        """Write the first line, then register: a line without a registration starts nothing."""
        key = session_key(self._session_id, 1)
        chain = Chain.start(session_origin(self._session_id))
        writer = self._writer(chain, 0, key, 1)
        try:
            self._first(
                writer,
                LogOpened(
                    session=self._session_id,
                    epoch=1,
                    vkey=str(key.verifier),
                    writer=self._plan.writer,
                    reserve_bytes=writer.file.hold_reserve(),
                ),
            )
            self._host.append(
                SessionRegistered(
                    session=self._session_id,
                    epoch=1,
                    vkey=str(key.verifier),
                    grant=registration.grant,
                    workspace=registration.workspace,
                    owner_uid=registration.owner_uid,
                    parent=registration.parent,
                )
            )
        except AuditError:
            writer.stop()
            raise
        return self._started(writer, None)

    def _again(self) -> Opened:
        found = recover(self._files, self._session_id)
        if self._plan.entries not in (None, found.chain.size):
            raise LedgerMovedError(
                f"the log of `{self._session_id}` has {found.chain.size} entries, not {self._plan.entries}"
            )
        epoch = found.epoch + 1
        key = session_key(self._session_id, epoch)
        self._host.append(
            SessionReopened(
                session=self._session_id,
                epoch=epoch,
                vkey=str(key.verifier),
                size=found.chain.size,
                root=found.chain.frontier.root().hex(),
            )
        )
        writer = self._writer(found.chain, found.segment, key, epoch)
        try:
            writer.file.cut(found.torn)
            writer.file.hold_reserve()
            self._first(
                writer,
                SessionRecovered(
                    session=self._session_id,
                    epoch=epoch,
                    vkey=str(key.verifier),
                    writer=self._plan.writer,
                    unsealed_from=found.sealed_size,
                    dropped_bytes=found.torn.size,
                    dropped_sha256=found.torn.digest,
                ),
            )
        except AuditError:
            writer.stop()
            raise
        return self._started(writer, found)

    def _writer(self, chain: Chain, segment: int, key: SignerKey, epoch: int) -> Writer:
        sealing = Sealing(
            session=self._session_id,
            origin=session_origin(self._session_id),
            key=key,
            epoch=epoch,
            segment_bytes=self._plan.segment_bytes,
        )
        end = End(self._files.session(self._session_id), chain, segment)
        return Writer(end, sealing, self._encoder, self._host, self._tell, in_turn=self._plan.in_turn)

    def _first(self, writer: Writer, event: Event) -> None:
        rest, _ = self._encoder.encode(event)
        writer.file.write([Waiting(rest=rest, openings=[], urgency=Urgency.SYNC)])

    def _started(self, writer: Writer, recovered: Recovered | None) -> Opened:
        writer.start()
        return Opened(
            writer=writer,
            encoder=self._encoder,
            redactor=self._redactor,
            host=self._host,
            lock=self._lock,
            recovered=recovered,
        )
