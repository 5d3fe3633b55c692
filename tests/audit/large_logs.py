"""Write a session's log as its writer would, much faster: nothing is synced before the end."""

from collections.abc import Iterator
from pathlib import Path

from audit.chain import Chain
from audit.clock import SystemClock
from audit.encode import Encoder
from audit.fields import Event
from audit.host import HostLog
from audit.host_event import SessionRegistered, SessionSealed
from audit.keys import session_key
from audit.log_event import LogOpened, LogSealed
from audit.note import SignerKey, sign
from audit.recover import session_origin
from audit.sealed import SEAL_ENTRIES, SEGMENT_BYTES
from audit.session_event import SessionClosed
from audit.state import StateFiles

CLOSED = {
    "status": "done",
    "exit_code": 0,
    "reason": "finished",
    "unfinished": False,
    "totals": {},
}


class LargeLog:
    """Writes one session.

    Args:
        state: The state folder.
        session_id: A whole id.
        segment_bytes: Begin a new file when the present one is larger.
    """

    def __init__(self, state: Path, session_id: str, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._session, self._segment_bytes = session_id, segment_bytes
        self._encoder = Encoder(SystemClock())
        self._host = HostLog(state)
        self._key: SignerKey = session_key(session_id, 1)
        self._chain = Chain.start(session_origin(session_id))
        self._files = StateFiles(state).session(session_id)
        self._files.folder.mkdir(mode=0o700, parents=True)

    def write(self, events: Iterator[Event]) -> None:
        """Write the session's beginning, some events, and its end."""
        vkey = str(self._key.verifier)
        registered = SessionRegistered(
            session=self._session, epoch=1, vkey=vkey, grant="files", workspace=None, owner_uid=0
        )
        self._host.append(registered)
        opened = LogOpened(session=self._session, epoch=1, vkey=vkey, writer="", reserve_bytes=0)
        closed = SessionClosed.model_validate(CLOSED)
        number, block = 0, self._lines([opened, *self._some(events)])
        while block:
            with self._files.segment(number).open("wb") as file:
                while block and file.tell() < self._segment_bytes:
                    file.write(block)
                    block = self._lines(self._some(events))
                if not block:
                    file.write(self._lines([closed]))
            number += 1
        self._host.append(self._seal_of(closed=True))
        self._host.close()

    def _some(self, events: Iterator[Event]) -> list[Event]:
        return [event for _, event in zip(range(SEAL_ENTRIES), events, strict=False)]

    def _lines(self, events: list[Event]) -> bytes:
        """Return some lines and a seal over them; nothing where there are none."""
        if not events:
            return b""
        lines = [self._chain.add(self._encoder.encode(event)[0]) for event in events]
        note = sign(self._chain.checkpoint(session_origin(self._session)).text(), [self._key])
        lines.append(self._chain.add(self._encoder.encode(LogSealed(epoch=1, note=note))[0]))
        return b"\n".join(lines) + b"\n"

    def _seal_of(self, *, closed: bool) -> SessionSealed:
        return SessionSealed(
            session=self._session,
            epoch=1,
            size=self._chain.size,
            root=self._chain.frontier.root().hex(),
            head=self._chain.head.hex(),
            closed=closed,
        )
