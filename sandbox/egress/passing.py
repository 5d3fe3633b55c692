"""Pass TLS through untouched, once its ClientHello was judged, and the second one that a server may ask for.

A server of TLS 1.3 may answer the first with a HelloRetryRequest (RFC 8446 4.1.4); it then takes the second
one's name. So nothing of the container's follows the first hello before the server's answer was looked at.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from sandbox.egress.ends import GoneError
from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.hello import asks_again, check_hello, parse_hello
from sandbox.egress.splice import splice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.egress.crossing import Crossing
    from sandbox.egress.ends import Inlet

HELLO_SECONDS: Final = 5.0
_RECORD_HEAD_BYTES: Final = 5
_LARGEST_RECORD_BYTES: Final = 2**14 + 256
_BETWEEN: Final = frozenset({20, 23})
"""Records that may stand before a second hello: a change of ciphers for middleboxes' sake, early data."""


async def pass_through(inlet: Inlet, crossing: Crossing) -> None:
    """Carry a connection of TLS whose hellos ask for the tunnel's own name.

    Args:
        inlet: The container's end; its hello has not been read yet.
        crossing: The server's end, dialled.

    Raises:
        EgressDeniedError: When a hello asks for another name, or a budget is spent.
        UpstreamError: When the server's end is lost, idle for too long, or sends an empty record.
        GoneError: When the container's is.
    """
    await crossing.write(await judged_hello(inlet, host=crossing.wanted.host, ends_here=False))
    answer = await _first_answer(crossing)
    await inlet.write(answer)
    if asks_again(answer):
        async with decision_deadline():
            await _between(inlet, crossing)
        await crossing.write(await judged_hello(inlet, host=crossing.wanted.host, ends_here=False))
    await splice(inlet, crossing)


async def judged_hello(inlet: Inlet, *, host: str, ends_here: bool) -> bytes:
    """Return the records of the ClientHello that comes next; what follows them stays where it was.

    Args:
        inlet: The container's end.
        host: The canonical host that the tunnel is for.
        ends_here: Whether TLS ends at the gate.

    Raises:
        EgressDeniedError: When it asks for another name, hides it, is none, or does not come in time.
        GoneError: When the container's end is gone.
    """
    data = b""
    async with decision_deadline():
        while (hello := parse_hello(data)) is None:
            if not (more := await inlet.read()):
                raise GoneError
            data += more
    inlet.push_back(data[hello.record_bytes :])
    check_hello(hello, host=host, ends_here=ends_here)
    return data[: hello.record_bytes]


async def _first_answer(crossing: Crossing) -> bytes:
    """Return what the server says first, enough of it to tell whether it wants another hello."""
    data = b""
    while asks_again(data) is None and (more := await crossing.read()):
        data += more
    return data


async def _between(inlet: Inlet, crossing: Crossing) -> None:
    """Hand on what may stand before a second hello."""
    while True:
        head = await inlet.exactly(_RECORD_HEAD_BYTES)
        length = int.from_bytes(head[3:])
        if head[0] not in _BETWEEN or length > _LARGEST_RECORD_BYTES:
            inlet.push_back(head)
            return
        await crossing.write(head + await inlet.exactly(length))


@asynccontextmanager
async def decision_deadline(seconds: float = HELLO_SECONDS) -> AsyncIterator[None]:
    """Refuse what does not come in time."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise EgressDeniedError(
            "protocol", f"nothing that can be decided came within {seconds:.0f} s"
        ) from None
