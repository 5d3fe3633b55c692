"""Bound what a configured server makes the runner read and ask, and keep its words out of the log.

The protocol's library reads a message into objects in the runner's own loop, answers whatever a server asks,
and logs what it finds wrong, with tracebacks, to standard error.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from agent_runner.hearing import ARGUMENT_CHARACTERS
from cli_tools.errors import ActionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpx2 import Response

MOST_REQUESTS: Final = 16
"""Of one call's: the greeting, the call and the farewell are five; a server that asks back makes more."""
MOST_MESSAGES: Final = 2_000
"""Of one call's that a server says: notifications of progress, mostly."""
LARGEST_MESSAGE_BYTES: Final = 2 * ARGUMENT_CHARACTERS
"""Of a client's: it binds before the characters of a call's arguments do where those are escaped."""
MOST_PARTS: Final = 50_000
"""In one answer: each that is not what it should be costs some 15 us, in the loop that holds the lease."""
_MOST_LINES: Final = 10 * MOST_MESSAGES
_EVENT_STREAM: Final = "text/event-stream"
_LINE: Final = re.compile(rb"[^\r\n]*+(?:\r\n|\n|\r|\Z)")
_MARK: Final = re.compile(rb'[^",\[{]*+(?:"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|([,\[{])|\Z)', re.DOTALL)
"""A string, whole, or (the group) what begins a value or comes before one; RFC 8259."""


def silence() -> None:
    """Let the protocol's library log nothing: it would say what a peer said, or what is told anyway."""
    log = logging.getLogger("mcp")
    if not any(isinstance(handler, logging.NullHandler) for handler in log.handlers):
        log.addHandler(logging.NullHandler())
        log.propagate = False


def made_plain(response: Response) -> None:
    """Take from an answer's type whatever would have it read otherwise than it is bounded.

    Both forms are UTF-8 whatever a server says of them (RFC 8259, 8.1; the HTML standard, 9.2).
    """
    kind = response.headers.get("content-type", "").partition(";")[0]
    response.headers["content-type"] = kind.strip().lower()


def require_readable(response: Response) -> int:
    """Return how many messages an answer holds, when reading it costs no more than it may.

    Raises:
        ActionError: When it holds too many messages, or one of too many parts.
    """
    messages = 0
    for message in _messages(response):
        messages += 1
        if messages > MOST_MESSAGES:
            raise too_many_messages()
        require_parts(message)
    return messages


def require_parts(message: bytes) -> None:
    """Return when a message, as JSON, is in no more parts than it may be.

    Raises:
        ActionError: When it is.
    """
    parts = 0
    for marks, mark in enumerate(_MARK.finditer(message), start=1):
        parts += mark.lastindex is not None
        if parts > MOST_PARTS or marks > 4 * MOST_PARTS:
            raise _too_much(f"more than {MOST_PARTS} values in one message")


def _messages(response: Response) -> Iterator[bytes]:
    """Yield each message as the library will read it: a stream's are the data of its events."""
    if response.headers.get("content-type") != _EVENT_STREAM:
        yield from [response.content] if response.content else []
        return
    data: list[bytes] = []
    is_open = False
    for number, found in enumerate(_LINE.finditer(response.content)):
        if number > _MOST_LINES:
            raise too_many_messages()
        line = found[0].rstrip(b"\r\n")
        if line:
            is_open = True
            data += [line[5:]] if line.startswith(b"data:") else []
        elif is_open:
            yield b"\n".join(data)
            data, is_open = [], False
    if is_open:
        yield b"\n".join(data)


def too_many_messages() -> ActionError:
    """Return what is told of a server that says more than a call needs."""
    return _too_much(f"more than {MOST_MESSAGES} messages for one call")


def too_many_requests() -> ActionError:
    """Return what is told of a server that asks back without end."""
    return _too_much(f"it asked back more often than {MOST_REQUESTS} times")


def _too_much(why: str) -> ActionError:
    return ActionError("too-large", f"the server's answer is not read: {why}")
