"""Processes of a test's own that hold a lock, and may be stopped while they do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def holding(*arguments: str, stop: bool, folder: Path | None = None) -> Iterator[int]:
    """Give the process of a Python that has printed `held`, stopped or not; it is killed at the end.

    Args:
        arguments: What Python is called with; it prints `held` once it holds what it is to hold.
        stop: Whether it is stopped (SIGSTOP) then.
        folder: Where it is started; this process's own when left out.
    """
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"held\n"
            if stop:
                child.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
            yield child.pid
        finally:
            child.kill()
