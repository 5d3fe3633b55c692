"""Say who runs pairlock, for the ledger."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from typing import Final

_ASKING_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Author:
    """Under which name a person commits."""

    name: str
    email: str


def who() -> str:
    """Return the user's name, or `uid N` for one that the machine has no name for, as in many containers."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def author() -> Author:
    """Return the name and address that the person's own git settings hold; never those of a workspace."""
    return Author(_setting("user.name") or who(), _setting("user.email") or f"{who()}@localhost")


def _setting(key: str) -> str:
    """Read one of the person's global git settings, from a folder that is in no repository."""
    if (git := shutil.which("git", path=os.defpath)) is None:
        return ""
    try:
        found = subprocess.run(
            [git, "config", "--global", "--get", key],
            cwd="/", stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASKING_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):  # no home that answers
        return ""
    return found.stdout.decode("utf-8", "replace").strip()
