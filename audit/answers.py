"""Bring what the writer answers to those who wait for it in the event loop.

What is written, and when, is told in ``writer``.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from audit.batch import Waiting
from audit.errors import LedgerDeadError, LedgerError
from audit.host import Receipt
from audit.writer import Writer


async def written(writer: Writer, line: Waiting) -> None:
    """Return when a line that was put in has its answer."""
    if line.answer is None and not writer.write_now():
        line.asker = asyncio.get_running_loop().create_future()
        if line.answer is None:  # looked at again: the thread sets the answer first, then looks for the asker
            await line.asker


def receipt(line: Waiting) -> Receipt:
    """Return the receipt of a line that has its answer.

    Raises:
        LedgerError: When it was not written.
    """
    if isinstance(line.answer, Receipt):
        return line.answer
    raise line.answer or LedgerDeadError("the ledger has failed")


class Bridge:
    """Carries what the writer's thread says over to the loop, one wake-up for each batch."""

    def __init__(self, loop: asyncio.AbstractEventLoop, failure: "asyncio.Future[LedgerError]") -> None:
        self._loop = loop
        self._failure = failure
        self._thread = threading.get_ident()

    def answered(self, lines: list[Waiting]) -> None:
        """Take the answers of one batch."""
        self._call(self._deliver, lines)

    def failed(self, error: LedgerError) -> None:
        """Take that the log can no longer be written."""
        self._call(self._fail, error)

    def _call(self, function: Callable[..., None], value: object) -> None:
        if threading.get_ident() == self._thread:
            function(value)
            return
        with suppress(RuntimeError):  # the loop is gone, and with it whoever waited
            self._loop.call_soon_threadsafe(function, value)

    def _deliver(self, lines: list[Waiting]) -> None:
        for line in lines:
            if isinstance(line.asker, asyncio.Future) and not line.asker.done():
                line.asker.set_result(None)

    def _fail(self, error: LedgerError) -> None:
        if not self._failure.done():
            self._failure.set_result(error)
