"""Find and end the processes below one process, those included that changed their group or session.

A process that is not there in one reading of /proc may have been born after it, so the caller goes on until
its own children are gone. All are stopped before any is killed: what is stopped cannot fork, so a fork bomb
is caught.
"""

from __future__ import annotations

import os

from . import signals

_PARENT_AFTER_NAME = 1  # fields of /proc/PID/stat after the name in parentheses: state, ppid, …


def parents() -> dict[int, int]:
    """Return each process's parent, by process id, as /proc shows them now."""
    found: dict[int, int] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 (pathlib would cost the start)
        if name.isdecimal():
            parent = _parent(int(name))
            if parent is not None:
                found[int(name)] = parent
    return found


def _parent(process: int) -> int | None:
    try:
        descriptor = os.open(f"/proc/{process}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # The name may hold spaces and parentheses: what counts begins after the last one.
        fields = os.read(descriptor, 1024).rpartition(b")")[2].split()
        return int(fields[_PARENT_AFTER_NAME])
    except (OSError, ValueError, IndexError):
        return None
    finally:
        os.close(descriptor)


def below(root: int, parent_of: dict[int, int]) -> set[int]:
    """Return all descendants of `root`, without it."""
    children: dict[int, list[int]] = {}
    for process, parent in parent_of.items():
        children.setdefault(parent, []).append(process)
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found and child != root:
                found.add(child)
                waiting.append(child)
    return found


def end(processes: set[int]) -> None:
    """Stop all of them, then kill all of them."""
    for number in (signals.STOP, signals.KILL):
        for process in processes:
            send(number, process)


def send(number: int, process: int) -> None:
    """Send a signal to one process, which may have gone."""
    try:
        os.kill(process, number)
    except OSError:
        return  # gone, or not ours: the next reading tells
