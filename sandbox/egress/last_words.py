"""Take whatever the egress process says on stderr, so that it never waits for room; keep the end of it."""

from __future__ import annotations

import asyncio
from typing import Final

KEPT_BYTES: Final = 4096
PATIENCE_SECONDS: Final = 5.0
"""How long the end of what it says is waited for, once its pipe has closed."""
_WORDS: Final = 40


class LastWords:
    """The end of what a process says, read from now on.

    Args:
        errors: Its stderr.
    """

    def __init__(self, errors: asyncio.StreamReader) -> None:
        self._errors = errors
        self._kept = b""
        self._hearing = asyncio.create_task(self._hear())

    async def said(self) -> str:
        """Return the last words that it said, on one line, when it says no more or patience is over."""
        await asyncio.wait((self._hearing,), timeout=PATIENCE_SECONDS)
        return " ".join(self._kept.decode("utf-8", "backslashreplace").split()[-_WORDS:])

    async def stop(self) -> None:
        """Hear no more."""
        self._hearing.cancel()
        await asyncio.wait((self._hearing,))

    async def _hear(self) -> None:
        while data := await self._errors.read(KEPT_BYTES):
            self._kept = (self._kept + data)[-KEPT_BYTES:]
