"""Try what takes a program of the agent's: each runs the image's own Python or shell inside the sandbox."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.errors import OperationError
from sandbox.probing.probe import ALLOWED, Opens, Probe
from sandbox.running import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.running import ProcessResult
    from sandbox.session import Sandbox

NO_PROGRAM: Final = "no program"
_CUT: Final = "cut"
_ENDED: Final = "ended"
_GONE: Final = "gone"
_ALIVE: Final = "PID 1 lives"
_SAME: Final = "not root"
_FLOOD: Final = "import sys\nblock = b'x' * 65536\nfor _ in range(1024): sys.stdout.buffer.write(block)"
_BIG_FILE: Final = (
    "block = b'x' * 65536\nwith open('/tmp/big', 'wb') as file:\n for _ in range(1024): file.write(block)"
)
_STRAY: Final = "(setsid sh -c 'sleep 347' &) ; exit 0"
_FIND_STRAY: Final = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramProbe:
    """A probe, the program that tries it, and how its result is read."""

    probe: Probe
    argv: tuple[str, ...]
    read: Callable[[ProcessResult], str]
    """Return `allowed` or an answer that the probe's `stops` knows."""
    timeout_seconds: float = 30.0


async def answer(sandbox: Sandbox, program: ProgramProbe) -> str:
    """Run one of them and return what was observed; without `exec` the guest starts no program."""
    try:
        result = await sandbox.spawn(program.argv, timeout_seconds=program.timeout_seconds)
    except OperationError:
        return NO_PROGRAM
    return program.read(result)


def _succeeds(result: ProcessResult) -> str:
    return ALLOWED if result.exit_code == 0 else f"exit {result.exit_code}"


def _python(text: str) -> tuple[str, ...]:
    return ("python3", "-c", text)


def _probe(name: str, tried: str, opens: Opens = Opens.NEVER, **stops: str) -> Probe:
    answers = {word.replace("_", " "): layer for word, layer in stops.items()}
    return Probe(
        name=name,
        tried=tried,
        opens=opens,
        stops={NO_PROGRAM: "guest: no `exec`", **answers},
    )


def _extra(result: ProcessResult) -> str:
    """Look for names in the environment that are not ours; the shell adds three of its own."""
    names = set(re.findall(r"^([A-Za-z_]\w*)=", result.output.decode("utf-8", "replace"), re.MULTILINE))
    extra = names - ENVIRONMENT.keys() - {"PWD", "SHLVL", "_", "OLDPWD"}
    return ALLOWED if extra else "clean"


WITH_PROGRAMS: Final = (
    ProgramProbe(
        probe=_probe("run_program", "run a program of the image", Opens.EXEC), argv=("true",), read=_succeeds
    ),
    ProgramProbe(
        probe=_probe("run_program_from_scratch", "run a program that was just written", Opens.EXEC),
        argv=("sh", "-c", "cp /bin/sh /tmp/own && /tmp/own -c true; code=$?; rm /tmp/own; exit $code"),
        read=_succeeds,
    ),
    ProgramProbe(
        probe=_probe("run_setuid_program", "gain root by a setuid bit", not_root="nosuid, not root"),
        argv=("sh", "-c", "cp /usr/bin/id /tmp/i && chmod 6755 /tmp/i && /tmp/i -u; rm -f /tmp/i"),
        read=lambda result: ALLOWED if result.output.strip() == b"0" else _SAME,
    ),
    ProgramProbe(
        probe=_probe("outlive_time_out", "go on after the time-out", ended="time-out"),
        argv=("sh", "-c", "trap '' TERM; sleep 60"),
        read=lambda result: _ENDED if result.timed_out else ALLOWED,
        timeout_seconds=1.0,
    ),
    ProgramProbe(
        probe=_probe("leave_stray", "leave a process behind", Opens.EXEC), argv=("sh", "-c", _STRAY),
        read=_succeeds,
    ),
    ProgramProbe(
        probe=_probe("find_stray", "find it in the next action", gone="guest"),
        argv=("sh", "-c", _FIND_STRAY),
        read=lambda result: ALLOWED if b"347" in result.output else _GONE,
    ),
    ProgramProbe(
        probe=_probe("flood_output", "print 64 MiB", cut="limit of output"),
        argv=_python(_FLOOD),
        read=lambda result: _CUT if result.truncated_bytes else ALLOWED,
    ),
    ProgramProbe(
        probe=_probe("write_big_file", "write a file of 64 MiB", ended="limit of a file's size"),
        argv=_python(_BIG_FILE),
        read=lambda result: ALLOWED if result.exit_code == 0 else _ENDED,
    ),
    ProgramProbe(
        probe=_probe("kill_guest", "kill PID 1", PID_1_lives="process namespace"),
        argv=("sh", "-c", "kill -KILL 1; kill -STOP 1; kill -INT 1; true"),
        read=lambda result: _ALIVE if result.exit_code == 0 else ALLOWED,
    ),
    ProgramProbe(
        probe=_probe("find_variables", "find variables that are not ours", clean="environment"),
        argv=("env",),
        read=_extra,
    ),
)  # fmt: skip
"""In this order; `find_stray` looks for what `leave_stray` left."""
