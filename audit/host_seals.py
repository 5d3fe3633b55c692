"""Tell the host's log of a session's seals, from a thread of its own: the newest only, at most once a second.

No entry waits for this: the host's log is shared by all sessions, and each of its lines takes several syncs.
"""

import threading
from collections.abc import Callable

from audit.errors import AuditError
from audit.host import HostLog
from audit.host_event import SessionSealed

HOST_SEAL_SECONDS = 1.0


class HostSeals:
    """Tells the host's log of one session's seals.

    Args:
        host: The host's log.
        on_failure: Told, from the thread, when the host's log cannot be written.
    """

    def __init__(self, host: HostLog, on_failure: Callable[[AuditError], None]) -> None:
        self._host = host
        self._on_failure = on_failure
        self._changed = threading.Condition()
        self._newest: SessionSealed | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="ledger-host", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def tell(self, seal: SessionSealed) -> None:
        """Hand a seal over; one that was not yet told of gives way to it."""
        with self._changed:
            self._newest = seal
            self._changed.notify()

    def stop(self) -> None:
        """Tell of the newest seal, and end the thread. Blocks."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest is not None or self._stopping)
                seal, self._newest = self._newest, None
                stopping = self._stopping
            if seal is not None:
                self._append(seal)
            if stopping and seal is None:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, timeout=HOST_SEAL_SECONDS)

    def _append(self, seal: SessionSealed) -> None:
        try:
            self._host.append(seal)
        except AuditError as error:
            self._on_failure(error)
