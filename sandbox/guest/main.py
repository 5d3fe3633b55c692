"""Start the guest: move the link away, lock down, look around, greet the host, fork workers, serve."""

from __future__ import annotations

import fcntl
import gc
import os

from . import doors, facts, linux, lockdown, probes, signals
from .beneath import Beneath
from .greeting import Ended, greet, seal
from .wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import NoReturn

    from .greeting import Greeting

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
        _run(roots[0], holds_exec="--exec" in flags, loopback_open="--loopback" in flags)
    except Ended as end:
        _end(end.code, end.reason)
    except (lockdown.LockdownError, RuntimeError) as error:
        _end(EXIT_LOCKDOWN, str(error))
    except OSError as error:
        _end(EXIT_LOCKDOWN, f"the guest could not start: {error.strerror} (`{error.filename}`)")
    except BaseException as error:  # noqa: BLE001 (PID 1 has nobody above it: one line, never a traceback)
        _end(EXIT_FAILED, f"the guest failed: {type(error).__name__}: {str(error)[:200]}")
    _end(EXIT_LOCKDOWN, "the guest left its loop")


def _run(root: str, *, holds_exec: bool, loopback_open: bool) -> None:
    environment = list(os.environ)
    inherited = facts.descriptors()
    signals.ignore_all()
    link = _move_link()
    lockdown.lock_down(holds_exec=holds_exec, loopback=loopback_open)
    linux.become_subreaper()  # as PID 1 it is one already; without a namespace of its own it asks
    trial = probes.Trial(facts.SELF_TEST)
    found = facts.gather(environment, inherited)
    found.update({"exec": holds_exec, "loopback": loopback_open, "root": root})
    beneath = Beneath(root)
    listening = [*(doors.listening() if loopback_open else []), *(doors.commands() if holds_exec else [])]
    tries = trial.answers()
    found["tries"] = {**tries}
    lockdown.require_refusals(tries, holds_exec=holds_exec, loopback=loopback_open)
    # Kernels keep the link's descriptors from programs; where one does not, frames are sealed.
    seals = tries["open_link"] not in ("EACCES", "EPERM")
    if seals:
        os.dup2(0, 2)  # there programs could write to the host's end of stderr, too, and without any bound
    greeting = greet(link, found, seals=seals)
    # gVisor of 2022 says yes to PID 1 and no to a worker, so a child was asked.
    keeps_orphans = tries["subreaper"] == probes.ALLOWED
    _serve(
        link, greeting, beneath, listening, holds_exec=holds_exec, keeps_orphans=keeps_orphans, seals=seals
    )


def _serve(  # noqa: PLR0913 (called in one place; each is what was made before the host was greeted)
    link: Wire,
    greeting: Greeting,
    beneath: Beneath,
    listening: list[_socket.socket],
    *,
    holds_exec: bool,
    keeps_orphans: bool,
    seals: bool,
) -> None:
    """Load what serves, while the host judges what it was told; fork workers, and serve."""
    from .pool import Pool  # noqa: PLC0415 (with what they load, a third of the start)
    from .serve import Guest  # noqa: PLC0415

    bell = signals.ChildBell()
    pool = Pool(beneath, forget=link.forget)
    outgoing = None
    if listening:
        from .outgoing import Outgoing  # noqa: PLC0415 (most sessions open no streams)

        outgoing = Outgoing(link, listening)
    gc.freeze()
    gc.enable()
    if outgoing is not None:
        outgoing.fill()
    pool.fill()  # one, for the first request; the loop forks the others when it has nothing else to do
    if seals:
        seal(link, greeting)
    Guest(
        link, pool, bell, greeting, holds_exec=holds_exec, keeps_orphans=keeps_orphans, outgoing=outgoing
    ).run()


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
