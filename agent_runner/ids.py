"""Make session ids."""

from __future__ import annotations

import secrets
from typing import Final

CROCKFORD: Final = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH: Final = 12


def new_session_id() -> str:
    """Return 12 random lowercase Crockford base32 characters: 60 bits."""
    return "".join(secrets.choice(CROCKFORD) for _ in range(LENGTH))
