"""Run one program for the host and watch over everything it starts. Runs in a worker, which is its subreaper.

PID 1 holds the other ends of the program's pipes; the worker only starts, waits, and ends: first the
program's group with SIGTERM when it is told to, then, after a grace, whatever is left below, wherever it hid.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import sys
import time

from . import descendants, frames, signals
from .arguments import Arguments
from .refusal import RefusedError
from .signals import ChildBell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .beneath import Beneath
    from .objects import Object
    from .task import Task

GRACE_SECONDS = 1.0
GIVE_UP_SECONDS = 5.0
MAX_TIMEOUT_SECONDS = 86_400.0
MAX_OUTPUT_BYTES = 1 << 40
DEFAULT_OUTPUT_BYTES = 1 << 20
ARGUMENTS = frozenset(
    {"argv", "cwd", "cwd_base64", "env", "timeout_seconds", "output_bytes", "file_bytes", "open_files"}
)
_MAX_FILE_BYTES = 1 << 40
_DEFAULT_FILE_BYTES = 4 << 30
_DEFAULT_OPEN_FILES = 1024
_MAX_OPEN_FILES = 65_536
HIGHEST_DESCRIPTOR = 1024
_SWEEP_MILLISECONDS = 10
_NOT_FOUND = (errno.ENOENT, errno.ENOTDIR)
_NOT_STARTED = 127


def spawn(task: Task, beneath: Beneath) -> Object:
    """Run `argv` to its end, and end everything that it left behind."""
    pipes = task.channel.take_descriptors()
    try:
        plan = _Plan(Arguments(task.values, ARGUMENTS), beneath)
        try:
            child, told = _start(plan, pipes)
        finally:
            os.close(plan.folder)
    finally:
        for descriptor in pipes:
            os.close(descriptor)
    watch = _Watch(task, child)
    try:
        outcome = watch.until_all_gone()
        _require_started(plan, told, outcome)
    finally:
        os.close(told)
        watch.close()
    return outcome


class _Plan:
    """What the child needs, read and checked before the fork."""

    def __init__(self, arguments: Arguments, beneath: Beneath) -> None:
        self.argv = [word.encode() for word in arguments.texts("argv", least=1)]
        self.environment = {key.encode(): value.encode() for key, value in arguments.mapping("env").items()}
        self.file_bytes = arguments.number(
            "file_bytes", default=_DEFAULT_FILE_BYTES, least=1, most=_MAX_FILE_BYTES
        )
        self.open_files = arguments.number(
            "open_files", default=_DEFAULT_OPEN_FILES, least=16, most=_MAX_OPEN_FILES
        )
        if not self.argv[0]:
            raise RefusedError("arguments", "argument `argv` begins with an empty text; expected a program")
        self.folder = beneath.open(arguments.path("cwd"), os.O_PATH | os.O_DIRECTORY)

    def words(self) -> list[bytes]:
        """Return the starter's argv, as `stub/start.c` says it."""
        candidates = self.candidates()
        numbers = (self.file_bytes, self.open_files, len(candidates))
        return [b"start", *(str(number).encode() for number in numbers), *candidates, *self.argv]

    def refused(self, code: int) -> RefusedError:
        """Return why the program was not started.

        Args:
            code: the errno.
        """
        name = self.argv[0].decode("utf-8", "backslashreplace")[:200]
        if code in _NOT_FOUND:
            return RefusedError("not-found", f"program `{name}` was not found in PATH")
        reason = os.strerror(code).lower()
        return RefusedError("not-executable", f"program `{name}` cannot be executed: {reason}")

    def candidates(self) -> list[bytes]:
        """Return the files to try, as execvp(3) would: a name with a slash is itself."""
        name = self.argv[0]
        if b"/" in name:
            return [name]
        return [folder + b"/" + name for folder in self.environment.get(b"PATH", b"").split(b":") if folder]


def _start(plan: _Plan, pipes: list[int]) -> tuple[int, int]:
    """Start what becomes the program; return its process id, and what can be read where it could not.

    A fork of this process would copy what it is made of, which takes milliseconds: `stub/start.c` is small,
    is started by vfork, and sets what is to hold before the program's first instruction.

    Raises:
        RefusedError: code `busy` when no process can be made, `not-executable` for what no program can have.
    """
    # INVARIANT: no pipe: a program of the session could open that by /proc/PID/fd and write, but no socket.
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    ours.setblocking(False)  # noqa: FBT003 (C, positional)
    told, tell = ours.detach(), theirs.detach()
    try:
        os.fchdir(plan.folder)  # nothing else here depends on it: paths are beneath descriptors
        child = _spawned(plan, [*pipes, tell])
    except OSError as error:
        os.close(told)
        if error.errno in (errno.EAGAIN, errno.ENOMEM):
            why = "no process could be made: the limit of processes is reached"
            raise RefusedError("busy", why) from error
        raise plan.refused(error.errno or errno.EIO) from error
    finally:
        os.chdir("/")
        os.close(tell)
    return child, told


def _spawned(plan: _Plan, ends: list[int]) -> int:
    """Start the starter that nobody can read; the readable one where the kernel executes no such."""
    actions = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(ends)]
    words = plan.words()
    try:
        return os.posix_spawn(_starter("start"), words, plan.environment, file_actions=actions, setsid=True)
    except PermissionError:
        return os.posix_spawn(
            _starter("readable-start"), words, plan.environment, file_actions=actions, setsid=True
        )


def _starter(name: str) -> str:
    """Return the path of what becomes the program; it stands beside this guest's start."""
    return f"{sys.argv[0].rpartition('/')[0]}/stub/{name}-{os.uname().machine}"


def _require_started(plan: _Plan, told: int, outcome: Object) -> None:
    """Refuse what ended without having become the program; `stub/start.c` then exits with 127.

    Raises:
        RefusedError: code `not-found` or `not-executable`.
    """
    try:
        answer = os.read(told, 1)
    except BlockingIOError:
        return
    if answer and outcome["exit_code"] == _NOT_STARTED:
        raise plan.refused(answer[0])


class _Watch:
    """Wait for the program, listen for the order to end it, and leave nothing behind."""

    def __init__(self, task: Task, child: int) -> None:
        self._task = task
        self._child = child
        self._bell = ChildBell()
        self._poller = select.poll()
        self._poller.register(self._bell.fileno(), select.POLLIN)
        self._poller.register(task.channel.fileno(), select.POLLIN)
        self._status: int | None = None
        self._kill_at: float | None = None
        self._give_up_at: float | None = None
        self._cpu_seconds = 0.0
        self._killed: set[int] = set()

    def close(self) -> None:
        """Stop listening to SIGCHLD."""
        self._bell.close()

    def until_all_gone(self) -> Object:
        """Return the outcome once no process below this one is left, or none that can be killed."""
        while not self._reap():
            now = time.monotonic()
            if self._status is not None or (self._kill_at is not None and now >= self._kill_at):
                if self._give_up_at is None:
                    self._give_up_at = now + GIVE_UP_SECONDS
                if now >= self._give_up_at:
                    break
                self._sweep()
            self._wait(now)
        return self._outcome()

    def _reap(self) -> bool:
        """Collect who has died; return whether nobody is left."""
        self._bell.silence()
        while True:
            try:
                process, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if process == 0:
                return False
            self._cpu_seconds += usage.ru_utime + usage.ru_stime
            if process == self._child:
                self._status = status

    def _sweep(self) -> None:
        found = descendants.below(os.getpid(), descendants.parents())
        self._killed |= found - {self._child}
        descendants.end(found)

    def _wait(self, now: float) -> None:
        if self._give_up_at is not None:
            pause: float | None = _SWEEP_MILLISECONDS
        elif self._kill_at is not None:
            pause = max(0.0, self._kill_at - now) * 1000 + 1
        else:
            pause = None
        for descriptor, _ in self._poller.poll(pause):
            if descriptor == self._task.channel.fileno():
                self._listen()

    def _listen(self) -> None:
        try:
            frame = self._task.channel.receive()
        except EOFError:
            os._exit(0)  # PID 1 has gone, and with it the container
        if frame.kind == frames.CANCEL and frame.stream == self._task.stream and self._kill_at is None:
            self._kill_at = time.monotonic() + GRACE_SECONDS
            descendants.send(signals.TERMINATE, -self._child)

    def _outcome(self) -> Object:
        status = self._status
        ended = status is not None and os.WIFEXITED(status)
        killed = status is not None and os.WIFSIGNALED(status)
        return {
            "exit_code": os.WEXITSTATUS(status) if status is not None and ended else None,
            "signal": os.WTERMSIG(status) if status is not None and killed else None,
            "cpu_seconds": round(self._cpu_seconds, 6),
            "killed_processes": len(self._killed),
        }
