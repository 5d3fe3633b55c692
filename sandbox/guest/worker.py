"""Be a worker: a process forked from PID 1, without the link, that does one operation at a time.

A worker is used again and again: it only ever serves the one session that its container is. It has limits of
its own on memory and on the processor's time for each operation, and PID 1 kills it at the operation's
deadline.
"""

from __future__ import annotations

import _socket
import gc
import os
import resource
import time

from . import linux, probes, program, signals
from .arguments import Arguments
from .frames import ProtocolError
from .refusal import RefusedError, from_os_error
from .task import Channel, Task, next_task

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from types import ModuleType
    from typing import NoReturn

    from .beneath import Beneath
    from .objects import Object

MEMORY_BYTES = 512 << 20
CPU_SECONDS = 60
_SLACK_SECONDS = 1.0


def probe(task: Task, _beneath: Beneath) -> Object:
    """Try the named probes."""
    return {**probes.run(Arguments(task.values, frozenset({"names", "timeout_seconds"})).texts("names"))}


def _later(module: str, name: str, *made_with: str) -> Callable[[Task, Beneath], Object]:
    """Return an operation whose module is loaded when it is first asked for, unless `load` was quicker."""

    def operation(task: Task, beneath: Beneath) -> Object:
        found = getattr(_loaded(module), name)
        if made_with:
            found = found(*made_with)
        result: Object = found(task, beneath)
        return result

    _MODULES.add(module)
    return operation


def _loaded(module: str) -> ModuleType:
    return __import__(module, globals(), None, ["*"], 1)


def load() -> None:
    """Load what the operations are made of: workers that are forked from here on have it from their start.

    Where that fails, for want of memory that a program of the session took, each loads what it is asked for.
    """
    for module in sorted(_MODULES):
        try:
            _loaded(module)
        except (ImportError, MemoryError, OSError):
            return


_MODULES: set[str] = set()
OPERATIONS: dict[str, Callable[[Task, Beneath], Object]] = {
    "files.list": _later("listing", "listing"),
    "files.stat": _later("files", "status"),
    "files.read": _later("files", "read"),
    "files.write": _later("writing", "write"),
    "files.move": _later("files", "move"),
    "files.remove": _later("files", "remove"),
    "files.lines": _later("lines", "lines"),
    "files.patch": _later("patch", "patch"),
    "files.search": _later("search", "search"),
    **{f"git.{name}": _later("git", "git", name) for name in ("status", "diff", "log", "show", "blame")},
    "trust.write": _later("trust", "write_bundle"),
    "stubs.write": _later("stubs", "write_stubs"),
    "process.spawn": program.spawn,
    "probe.run": probe,
}


def live(wire: _socket.socket, beneath: Beneath) -> NoReturn:
    """Serve requests until PID 1 is gone; never returns.

    Args:
        wire: the worker's end of its socket.
        beneath: the folder that paths are relative to.
    """
    try:
        settle(wire.fileno(), beneath.root)
        channel = Channel(wire)
        allowance = _Allowance()
        while True:
            task = next_task(channel)
            allowance.renew()
            _serve(task, beneath)
    except EOFError:
        os._exit(0)
    except (OSError, ProtocolError) as error:
        os.write(2, f"pairlock guest: a worker failed: {error}\n".encode("utf-8", "backslashreplace"))
    finally:
        os._exit(1)


def settle(*kept: int) -> None:
    """Give up every descriptor but `kept` and the null device's, and take on the limits."""
    signals.forget_bell()
    low = 3
    for high in sorted((*kept, program.HIGHEST_DESCRIPTOR)):
        os.closerange(low, high)
        low = high + 1
    linux.become_subreaper()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(program.HIGHEST_DESCRIPTOR, hard), hard))
    _soft_limit(resource.RLIMIT_AS, MEMORY_BYTES)
    gc.enable()


def _soft_limit(kind: int, value: int) -> None:
    """Lower a soft limit; the hard one stays, so that a program can be given back its own."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


class _Allowance:
    """The processor's time that an operation has: at least `CPU_SECONDS` - `_SLACK_SECONDS`.

    The kernel counts a process's whole life, so the limit is moved along; not for each operation, for most
    take microseconds, and two system calls are a part of that.
    """

    def __init__(self) -> None:
        self._renew_at = 0.0

    def renew(self) -> None:
        """Move the limit along where the operations before have used some of it."""
        used = time.process_time()
        if used >= self._renew_at:
            _soft_limit(resource.RLIMIT_CPU, int(used) + CPU_SECONDS)
            self._renew_at = used + _SLACK_SECONDS


def _serve(task: Task, beneath: Beneath) -> None:
    operation = OPERATIONS[str(task.values.get("op"))]
    if task.values.pop("straight", False) is True:
        beneath = beneath.straight()
    try:
        result = operation(task, beneath)
    except RefusedError as refusal:
        task.fail(refusal)
    except OSError as error:
        task.fail(from_os_error(error, str(task.values.get("op"))))
    except (MemoryError, RecursionError):
        task.fail(
            RefusedError("no-memory", f"the operation needs more than `{MEMORY_BYTES}` bytes of memory")
        )
    except (UnicodeError, ValueError) as error:
        task.fail(RefusedError("arguments", f"an argument cannot be used: {type(error).__name__}"))
    else:
        task.finish(result)
