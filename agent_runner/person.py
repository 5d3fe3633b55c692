"""Say who runs pairlock, for the ledger."""

from __future__ import annotations

import os
import pwd


def who() -> str:
    """Return the user's name, or `uid N` for one that the machine has no name for, as in many containers."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
