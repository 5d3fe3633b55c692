"""Answer the host's HELLO as soon as there is something to say; what serves it is loaded afterwards.

While the host judges what it is told, the guest loads its other modules and forks its workers: the first
request finds them there.
"""

from __future__ import annotations

import select
import time

from . import frames
from .frames import ProtocolError
from .objects import decode_object, encode_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .frames import Frame
    from .objects import Object
    from .wire import Wire

START_LEASE_SECONDS = 60.0
MAX_LEASE_SECONDS = 300.0
MAX_WALL_SECONDS = 30 * 86_400.0

EXIT_CLOSED = 0
EXIT_LEASE = 3
EXIT_PROTOCOL = 5


class Ended(Exception):  # noqa: N818 (it is not an error: every guest ends so)
    """Raised when the guest is to end.

    Args:
        code: the exit code.
        reason: one line for stderr; empty for the ordinary end.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Greeting:
    """What the host said.

    Args:
        hello: the values of its HELLO.

    Attributes:
        nonce: comes back with the answer.
        lease_seconds: how long the guest lives without a beat.
        wall_at: when it ends by itself, in seconds of the monotonic clock.
        behind: the frames that came in one piece with it; empty from our host, which waits for the answer.
    """

    def __init__(self, hello: Object, behind: list[Frame]) -> None:
        nonce = hello.get("nonce")
        if not isinstance(nonce, str):
            raise ProtocolError("HELLO without a nonce")
        self.nonce = nonce
        self.lease_seconds = _seconds(hello, "lease_seconds", MAX_LEASE_SECONDS)
        self.wall_at = time.monotonic() + _seconds(hello, "wall_seconds", MAX_WALL_SECONDS)
        self.behind = behind


def greet(link: Wire, facts: Object, *, seals: bool) -> Greeting:
    """Wait for the host's HELLO and answer it.

    Args:
        link: to the host.
        facts: what the guest found itself to be; goes out with the answer.
        seals: whether `seal` follows.

    Raises:
        Ended: when the host is gone, breaks a rule or is silent.
    """
    try:
        return _greeted(link, facts, seals=seals)
    except (EOFError, ProtocolError) as error:
        raise _ended(error) from error


def seal(link: Wire, greeting: Greeting) -> None:
    """Seal the link, where programs could open its descriptors: once the workers are forked, who need no key.

    Raises:
        Ended: when the host is gone or breaks a rule.
    """
    try:
        if greeting.behind:
            raise ProtocolError("a frame behind HELLO, and before the key")  # noqa: TRY301 (said in one place)
        link.seal()
    except (EOFError, ProtocolError) as error:
        raise _ended(error) from error


def _greeted(link: Wire, facts: Object, *, seals: bool) -> Greeting:
    first, *behind = _first_frames(link)
    if first.kind != frames.HELLO:
        raise ProtocolError(f"{frames.NAMES[first.kind]} before HELLO")
    hello = decode_object(first.payload)
    greeting = Greeting(hello, behind)
    answer: Object = {"version": frames.VERSION, "nonce": greeting.nonce, "seal": seals, "facts": facts}
    link.send(frames.HELLO, 0, encode_object(answer))
    link.flush()
    if hello.get("version") != frames.VERSION:
        raise ProtocolError(f"the host speaks another version; expected {frames.VERSION}")
    return greeting


def _ended(error: EOFError | ProtocolError) -> Ended:
    if isinstance(error, EOFError):
        return Ended(EXIT_CLOSED)
    return Ended(EXIT_PROTOCOL, f"protocol error: {error}")


def _first_frames(link: Wire) -> list[Frame]:
    poller = select.poll()
    poller.register(link.source, select.POLLIN)
    until = time.monotonic() + START_LEASE_SECONDS
    while True:
        left = until - time.monotonic()
        # Looked at once more when the time is over: this process may have been frozen meanwhile.
        if not poller.poll(max(0.0, left) * 1000) and left <= 0:
            raise Ended(EXIT_LEASE, f"no HELLO from the host for {START_LEASE_SECONDS} seconds")
        if received := link.receive():
            return received


def _seconds(hello: Object, name: str, most: float) -> float:
    value = hello.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= most:
        raise ProtocolError(f"HELLO without `{name}`; expected seconds, above 0 and up to {most}")
    return float(value)
