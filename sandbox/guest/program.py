"""Run one program for the host and watch over everything it starts. Runs in a worker, which is its subreaper.

PID 1 holds the other ends of the program's pipes; the worker only starts, waits, and ends: first the
program's group with SIGTERM when it is told to, then, after a grace, whatever is left below, wherever it hid.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import time

from . import descendants, frames, linux, signals
from .arguments import Arguments
from .refusal import RefusedError
from .signals import ChildBell, restore_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

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


def spawn(task: Task, beneath: Beneath) -> Object:
    """Run `argv` to its end, and end everything that it left behind."""
    pipes = task.channel.take_descriptors()
    try:
        plan = _Plan(Arguments(task.values, ARGUMENTS), beneath)
        try:
            child = _start(plan, pipes)
        finally:
            os.close(plan.folder)
    finally:
        for descriptor in pipes:
            os.close(descriptor)
    watch = _Watch(task, child)
    try:
        return watch.until_all_gone()
    finally:
        watch.close()


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

    def candidates(self) -> list[bytes]:
        """Return the files to try, as execvp(3) would: a name with a slash is itself."""
        name = self.argv[0]
        if b"/" in name:
            return [name]
        return [folder + b"/" + name for folder in self.environment.get(b"PATH", b"").split(b":") if folder]


def _start(plan: _Plan, pipes: list[int]) -> int:
    """Fork and execute; return the program's process id.

    Raises:
        RefusedError: code `not-found` or `not-executable`, or `busy` when no process can be made.
    """
    told, tell = os.pipe2(os.O_CLOEXEC)
    try:
        child = os.fork()
    except OSError as error:
        os.close(told)
        os.close(tell)
        raise RefusedError("busy", "no process could be made: the limit of processes is reached") from error
    if child == 0:
        _become(plan, pipes, tell)
    os.close(tell)
    answer = os.read(told, 64)
    os.close(told)
    if answer:
        os.waitpid(child, 0)
        raise _not_started(plan.argv[0].decode("utf-8", "backslashreplace")[:200], int(answer))
    return child


def _not_started(name: str, code: int) -> RefusedError:
    if code in _NOT_FOUND:
        return RefusedError("not-found", f"program `{name}` was not found in PATH")
    reason = os.strerror(code).lower()
    return RefusedError("not-executable", f"program `{name}` cannot be executed: {reason}")


def _become(plan: _Plan, pipes: list[int], tell: int) -> NoReturn:
    """Turn the child into the program. INVARIANT: nothing of ours is open in it but 0, 1 and 2."""
    code = errno.EIO
    try:
        os.setsid()
        os.fchdir(plan.folder)
        restore_all()
        for number, descriptor in enumerate(pipes):
            os.dup2(descriptor, number)
        os.closerange(3, tell)
        os.closerange(tell + 1, HIGHEST_DESCRIPTOR)
        _limit(plan)
        code = _execute(plan)
    except OSError as error:
        code = error.errno or errno.EIO
    finally:
        os.write(tell, str(code).encode())
        os._exit(127)


def _limit(plan: _Plan) -> None:
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_FSIZE, (plan.file_bytes, plan.file_bytes))
    most = min(plan.open_files, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (hard, hard))
    # The program will be dumpable anyway; only so does the kernel let it offer itself to the out-of-memory
    # killer first.
    linux.prctl(linux.PR_SET_DUMPABLE, 1)
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(descriptor, b"1000")
        os.close(descriptor)
    except OSError:
        pass  # tried: not every runtime allows it


def _execute(plan: _Plan) -> int:
    """Try each candidate; return the errno that says most when none could be executed."""
    code = errno.ENOENT
    for candidate in plan.candidates():
        try:
            os.execve(candidate, plan.argv, plan.environment)  # noqa: S606 (an argv, never a shell)
        except OSError as error:
            if error.errno not in _NOT_FOUND:
                code = error.errno or errno.EIO
    return code


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
