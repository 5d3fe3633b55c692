"""Let a session go on without its terminal: a process of its own, its talk in the session's folder."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final, NoReturn

from audit.state import StateFiles, prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOG: Final = "runner.log"


def go_on_alone(session: str, state: Path, *, say: Callable[[str], object]) -> None:
    """Return in a process that has left its terminal; the one that was called prints the id and ends.

    Call it before a loop, a thread or a connection exists: none of them survives a fork.

    Args:
        session: The session's id, which is not registered yet.
        state: The state folder.
        say: Prints one line to stdout.
    """
    logs = prepare(state).folder / "runners"
    logs.mkdir(mode=0o700, exist_ok=True)
    log_path = logs / f"{session}.log"
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    child = os.fork()
    if child:
        _leave(child, StateFiles(state).session(session).events, log_path, say=lambda: say(session))
    os.setsid()
    empty = os.open(os.devnull, os.O_RDONLY)
    for descriptor, target in ((empty, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)


def _leave(child: int, ledger: Path, log: Path, *, say: Callable[[], object]) -> NoReturn:
    """End this process when the session has its ledger; when it never gets one, say why."""
    while not ledger.exists():
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            sys.stderr.write(log.read_text("utf-8", "replace"))
            if code < 0:
                sys.stderr.write(f"pairlock: signal {-code} ended the session's process before it began\n")
            sys.stderr.flush()
            os._exit(code if code >= 0 else 1)
        time.sleep(0.02)
    say()
    sys.stdout.flush()
    os._exit(0)
