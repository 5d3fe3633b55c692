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
        async with end_read(ours, limit=limit) as reader:
            yield reader, end


@asynccontextmanager
async def end_read(descriptor: int, *, limit: int = _LIMIT_BYTES) -> AsyncIterator[asyncio.StreamReader]:
    """Yield the reader of a pipe's end, which is closed afterwards.

    Args:
        descriptor: The end.
        limit: As of `output_pipe`.
    """
    reader = asyncio.StreamReader(limit)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        yield reader
    finally:
        transport.close()
        pipe.close()  # the transport does it later: until then, what is written for the next would come here
