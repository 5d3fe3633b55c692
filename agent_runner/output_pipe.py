"""Read what a program prints over a pipe of our own: waiting for the program is then waiting for it alone.

With `stdout=PIPE`, asyncio's `Process.wait` waits for the end of every pipe too: for ever where a full reader
is not read on, and as long as a child of the program holds the other end.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LIMIT_BYTES: Final = 64 * 1024


@asynccontextmanager
async def output_pipe(*, limit: int = _LIMIT_BYTES) -> AsyncIterator[tuple[asyncio.StreamReader, BinaryIO]]:
    """Open a pipe, and yield its reader and the end that a program is given; both are closed afterwards.

    Close the program's end (`with`) once the program has it: the output ends when the last holder is gone.

    Args:
        limit: Bytes of the longest line that the reader returns; it holds twice as many at the most.
    """
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb", buffering=0) as end:
        reader = asyncio.StreamReader(limit)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", buffering=0)
        )
        try:
            yield reader, end
        finally:
            transport.close()
