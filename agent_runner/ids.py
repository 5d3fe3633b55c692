"""Make session ids, and find the session that a shortened one means."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from agent_runner.errors import UnknownSessionError

CROCKFORD: Final = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH: Final = 12
SHORTEST: Final = 4


def new_session_id() -> str:
    """Return 12 random lowercase Crockford base32 characters."""
    return "".join(secrets.choice(CROCKFORD) for _ in range(LENGTH))


def find_session(text: str, sessions: Sequence[str]) -> str:
    """Return the session that `text` means.

    Args:
        text: A whole id, a prefix of at least 4 characters, or `last`.
        sessions: Every id that there is, oldest first.

    Raises:
        UnknownSessionError: When it means none, or more than one.
    """
    if text == "last":
        if not sessions:
            raise UnknownSessionError("there is no session yet", hint="start one with `pairlock run`")
        return sessions[-1]
    shown = text[:40].encode("ascii", "backslashreplace").decode()
    if not SHORTEST <= len(text) <= LENGTH or not set(text) <= set(CROCKFORD):
        raise UnknownSessionError(
            f"`{shown}` is not a session id",
            hint=f"{SHORTEST} to {LENGTH} characters of an id from `pairlock audit list`, or `last`",
        )
    found = [session for session in sessions if session.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownSessionError(f"`{shown}` means {len(found)} sessions: {', '.join(found[:5])}")
    raise UnknownSessionError(f"no session `{shown}`", hint="`pairlock audit list` shows them")
