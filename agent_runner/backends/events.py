"""Leave out of an event stream what is no event: OpenAI's SDK takes an `id:` or a `retry:` alone for a reply.

An event without data is not told (HTML, clause 9.2.6). A line ends with CR LF, LF or CR, however split.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_MARK: Final = b"\xef\xbb\xbf"
"""Of the byte order, which may stand first."""


class EventsWithData(httpx2.AsyncByteStream):
    """Give the events of a stream that have data, each whole, as they were written.

    Args:
        inner: The stream's bytes, bounded.
    """

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner
        self._event: list[bytes] = []
        self._has_data = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give each event once its blank line is there; what no blank line ends is given as it is."""
        parts: list[bytes] = []  # of a line that has not ended: joined once, however long it becomes
        async for piece in self._inner:
            held = bool(parts) and parts[-1].endswith(b"\r")
            parts.append(piece)
            if not held and b"\n" not in piece and b"\r" not in piece:
                continue
            *lines, last = b"".join(parts).splitlines(keepends=True)
            if last.endswith(b"\n"):
                lines.append(last)
            parts = [] if last.endswith(b"\n") else [last]  # behind a CR an LF may come
            for event in filter(None, map(self._taken, lines)):
                yield event
        if rest := b"".join([*self._event, *parts]):
            yield rest

    def _taken(self, line: bytes) -> bytes:
        """Take a line; return the event that it ends, empty where it ends none, or one without data."""
        self._event.append(line)
        words = line.rstrip(b"\r\n").removeprefix(_MARK)
        if words:
            said = words.startswith(b"data:") and words.removeprefix(b"data:").removeprefix(b" ")
            self._has_data = self._has_data or bool(said)
            return b""
        event, self._event = b"".join(self._event), []
        has_data, self._has_data = self._has_data, False
        return event if has_data else b""

    async def aclose(self) -> None:
        """Close the connection."""
        await self._inner.aclose()
