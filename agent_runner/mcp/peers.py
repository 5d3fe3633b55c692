"""Bound what a configured server makes the runner read and ask, and keep its words out of the log.

The protocol's library reads a message into objects in the runner's own loop, answers whatever a server asks,
and logs what it finds wrong, with tracebacks, to standard error.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from cli_tools.errors import ActionError

if TYPE_CHECKING:
    from httpx2 import Response

MOST_REQUESTS: Final = 16
"""Of one call's: the greeting, the call and the farewell are five; a server that asks back makes more."""
MOST_MESSAGES: Final = 2_000
"""Of one call's that a server says: notifications of progress, mostly."""
MOST_OBJECTS: Final = 20_000
"""In one answer: each costs some 40 us in the loop that holds the session's lease."""
_LINES_OF_A_MESSAGE: Final = 4


def silence() -> None:
    """Let the protocol's library log nothing: it would say what a peer said, or what is told anyway."""
    log = logging.getLogger("mcp")
    if not any(isinstance(handler, logging.NullHandler) for handler in log.handlers):
        log.addHandler(logging.NullHandler())
        log.propagate = False


def require_readable(response: Response) -> None:
    """Return when reading an answer costs no more than an answer may.

    Raises:
        ActionError: When it holds too many messages or objects.
    """
    body = response.content
    if body.count(b"{") > MOST_OBJECTS:
        raise too_many_objects()
    is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
    if is_stream and body.count(b"\n") + body.count(b"\r") > MOST_MESSAGES * _LINES_OF_A_MESSAGE:
        raise too_many_messages()


def too_many_objects() -> ActionError:
    """Return what is told of an answer in too many parts."""
    return _too_much(f"more than {MOST_OBJECTS} objects in one answer")


def too_many_messages() -> ActionError:
    """Return what is told of a server that says more than a call needs."""
    return _too_much(f"more than {MOST_MESSAGES} messages for one call")


def too_many_requests() -> ActionError:
    """Return what is told of a server that asks back without end."""
    return _too_much(f"it asked back more often than {MOST_REQUESTS} times")


def _too_much(why: str) -> ActionError:
    return ActionError("too-large", f"the server's answer is not read: {why}")
