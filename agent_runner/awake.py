"""Wait for a session's next entry: woken by its runner where one listens, else for some time."""

from __future__ import annotations

import contextlib
import select
import time
from typing import TYPE_CHECKING, Self

import orjson

from agent_runner.door import connected
from agent_runner.errors import RunnerError
from agent_runner.feed import VERSION

if TYPE_CHECKING:
    import socket

_AT_ONCE = 64 * 1024


class Awake:
    """Subscribe to a session to be woken; what its entries say is read from its files, which are verified.

    Args:
        session: The whole id.
    """

    def __init__(self, session: str) -> None:
        self._session = session
        self._line: socket.socket | None = None
        self._held = contextlib.ExitStack()
        self._is_asked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._held.close()

    def wait(self, seconds: float, *, first: int) -> None:
        """Return when an entry has come, and in each case after some time.

        Args:
            seconds: The longest wait.
            first: The number of the entry that is waited for.
        """
        if not self._is_asked:
            self._is_asked = True
            self._ask(first)
        if self._line is None:
            time.sleep(seconds)
            return
        ready, _, _ = select.select([self._line], [], [], seconds)
        if ready and not self._is_told(self._line):
            self._line = None  # the runner has gone, or lets nobody subscribe

    def _ask(self, first: int) -> None:
        with contextlib.suppress(RunnerError, OSError):
            line = self._held.enter_context(connected(self._session))
            line.sendall(orjson.dumps({"version": VERSION, "do": "subscribe", "from": first}) + b"\n")
            line.settimeout(0)
            self._line = line

    @staticmethod
    def _is_told(line: socket.socket) -> bool:
        """Take all that is there; return whether more may come."""
        try:
            while line.recv(_AT_ONCE):
                pass
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False
