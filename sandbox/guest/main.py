"""Start the guest: move the link away, lock down, look around, fork workers, serve."""

from __future__ import annotations

import fcntl
import gc
import os

from . import doors, facts, linux, lockdown, probes, signals
from .beneath import Beneath
from .outgoing import Outgoing
from .pool import SPARE, Pool
from .serve import Ended, Guest
from .wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

EXIT_USAGE = 2
EXIT_LOCKDOWN = 4
EXIT_FAILED = 7
_FLAGS = ("--exec", "--loopback")
_LINK_FROM = 64  # descriptors of the link are moved up here, away from what children inherit


def main(arguments: list[str]) -> NoReturn:
    """Run the guest until it ends; never returns.

    Args:
        arguments: the command line after the program: flags, then the root folder.
    """
    flags, roots = arguments[:-1], arguments[-1:]
    if not roots or roots[0].startswith("-") or any(flag not in _FLAGS for flag in flags):
        _end(EXIT_USAGE, "usage: __main__.py [--exec] [--loopback] ROOT")
    try:
        guest = _prepare(roots[0], holds_exec="--exec" in flags, loopback_open="--loopback" in flags)
        guest.run()
    except Ended as end:
        _end(end.code, end.reason)
    except (lockdown.LockdownError, RuntimeError) as error:
        _end(EXIT_LOCKDOWN, str(error))
    except OSError as error:
        _end(EXIT_LOCKDOWN, f"the guest could not start: {error.strerror} (`{error.filename}`)")
    except BaseException as error:  # noqa: BLE001 (PID 1 has nobody above it: one line, never a traceback)
        _end(EXIT_FAILED, f"the guest failed: {type(error).__name__}: {str(error)[:200]}")
    _end(EXIT_LOCKDOWN, "the guest left its loop")


def _prepare(root: str, *, holds_exec: bool, loopback_open: bool) -> Guest:
    environment = list(os.environ)
    inherited = facts.descriptors()
    signals.ignore_all()
    link = _move_link()
    lockdown.lock_down(holds_exec=holds_exec, loopback=loopback_open)
    linux.become_subreaper()  # as PID 1 it is one already; without a namespace of its own it asks
    tries = probes.run(facts.SELF_TEST)
    found = facts.gather(environment, inherited, tries)
    found.update({"exec": holds_exec, "loopback": loopback_open, "root": root})
    lockdown.require_refusals(tries, holds_exec=holds_exec, loopback=loopback_open)
    # gVisor of 2022 says yes to PID 1 and no to a worker, so a child was asked.
    keeps_orphans = tries["subreaper"] == probes.ALLOWED
    bell = signals.ChildBell()
    # Kernels keep the link's descriptors from programs; where one does not, frames are sealed.
    seals = tries["open_link"] not in ("EACCES", "EPERM")
    if seals:
        os.dup2(0, 2)  # there programs could write to the host's end of stderr, too, and without any bound
    pool = Pool(Beneath(root), forget=link.forget)
    listening = [*(doors.listening() if loopback_open else []), *(doors.commands() if holds_exec else [])]
    outgoing = Outgoing(link, listening) if listening else None
    gc.freeze()
    gc.enable()
    if outgoing is not None:
        outgoing.fill()
    for _ in range(SPARE):
        pool.fill()
    return Guest(
        link,
        pool,
        bell,
        found,
        holds_exec=holds_exec,
        keeps_orphans=keeps_orphans,
        seals=seals,
        outgoing=outgoing,
    )


def _move_link() -> Wire:
    """Move the link to high descriptors that no program inherits, and put the null device in its place."""
    source = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, _LINK_FROM)
    sink = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, _LINK_FROM)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    os.set_blocking(source, False)
    os.set_blocking(sink, False)
    return Wire(source, sink)


def _end(code: int, reason: str) -> NoReturn:
    try:
        if reason:
            os.write(2, f"pairlock guest: {reason}\n".encode("utf-8", "backslashreplace"))
    finally:
        os._exit(code)  # stderr may be closed; the exit code says enough
