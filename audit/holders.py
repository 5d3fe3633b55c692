"""Name the processes that hold a lock on a file, for the person who has to do something about them."""

import os
from pathlib import Path

from audit.errors import LedgerLockedError

_LOCKS = Path("/proc/locks")
_MOST_NAMED = 3


def held_too_long(name: str, found: os.stat_result, seconds: float) -> LedgerLockedError:
    """Return what is told to somebody who has waited long enough for a lock.

    Args:
        name: What the file is called in the message.
        found: What it is.
        seconds: For how long it was waited.
    """
    holders = holders_of(found)[:_MOST_NAMED]
    names = ", ".join(f"process {pid}" + (", which is stopped" if is_stopped(pid) else "") for pid in holders)
    stopped = [pid for pid in holders if is_stopped(pid)]
    return LedgerLockedError(
        f"`{name}` has been held for {seconds:.0f} s by {names or 'another process'}",
        hint=f"let it go on with `kill -CONT {stopped[0]}`, or end it"
        if stopped
        else "let it finish, or end it",
    )


def holders_of(found: os.stat_result) -> list[int]:
    """Return the processes that hold a lock (flock(2)) on a file, as the kernel tells (proc_locks(5)).

    None where there is no such list, or where it names disks otherwise than stat(2), as on overlays.

    Args:
        found: What the file is.
    """
    named = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        lines = _LOCKS.read_text("ascii", "replace").splitlines()
    except OSError:
        return []
    pids = set()
    for line in lines:
        match line.split():
            case [_, "FLOCK", _, _, pid, place, *_] if place == named and pid.isdecimal():
                pids.add(int(pid))  # whoever waits has an arrow in front
            case _:
                pass
    return sorted(pids - {0})


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped, by a signal or a debugger (proc_pid_stat(5))."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b") ")[2][:1] in {b"T", b"t"}
