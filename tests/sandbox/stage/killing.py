"""Kill a process for real, before one of the calls with which it changes a disk."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from sandbox.stage import kernel

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = ("mkdir", "rmdir", "unlink", "fchmod", "fsync", "symlink", "open", "rename", "replace", "write")
"""What of `os` a stage changes a disk with; `renameat2` comes beside."""


def die_at(number: int) -> None:
    """Let this process, a child, die before its call of that number, counted from 0."""
    left = number

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return real(*arguments, **named)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    kernel.renameat2 = counted(kernel.renameat2)
