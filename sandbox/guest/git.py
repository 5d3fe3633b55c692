"""Read a git repository for the host: status, differences, history. No program runs.

The parsing is dulwich's, which is loaded when first needed, from the runtime volume.
"""

from __future__ import annotations

from .arguments import Arguments
from .beneath import shown
from .objects import encode_object
from .refusal import RefusedError
from .task import CHUNK_BYTES
from .timer import Timer, TimeUp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .beneath import Beneath
    from .objects import Object
    from .repository import Repository
    from .task import Task

    Entries = Iterator[Object]
    Read = Callable[[Repository, Arguments], Entries]

MAX_BYTES = 6 << 20
MAX_SECONDS = 60.0
_ARGUMENTS = frozenset(
    {"paths", "revision", "to", "file", "staged", "limit", "first", "last", "seconds", "timeout_seconds"}
)


class _Enough(Exception):  # noqa: N818 (what was sent until then is the answer)
    """Raised when as much was sent as may be."""


def git(name: str) -> Callable[[Task, Beneath], Object]:
    """Return the operation of that name."""

    def operation(task: Task, beneath: Beneath) -> Object:
        arguments = Arguments(task.values, _ARGUMENTS)
        outbox = _Outbox(task, Timer(arguments.seconds("seconds", default=20.0, most=MAX_SECONDS)))
        try:
            ended = _answered(outbox, name, arguments, beneath)
        except (RefusedError, MemoryError):
            raise
        except BufferError as error:  # (how zlib says that its output could not grow)
            raise MemoryError from error
        except KeyError as error:
            missing = shown(str(error.args[:1]).encode("utf-8", "backslashreplace"))
            why = f"the repository has no object {missing}; a partial clone lacks some"
            raise RefusedError("repository", why) from error
        except Exception as error:  # (dulwich meets hostile bytes, and says so in many ways)
            if str(error).startswith("Error -4 "):  # zlib's Z_MEM_ERROR
                raise MemoryError from error
            raise RefusedError("repository", f"the repository cannot be read: {_said(error)}") from error
        finally:
            outbox.timer.stop()
        outbox.flush()
        return {"ended": ended, "entries": outbox.entries}

    return operation


def _answered(outbox: _Outbox, name: str, arguments: Arguments, beneath: Beneath) -> str:
    try:
        from . import history, repository  # noqa: PLC0415 (half a second; only these operations need it)
    except ImportError:
        raise RefusedError("no-git", "this runtime was built without its reader of repositories") from None
    reads: dict[str, Read] = history.READS
    opened = repository.Repository(beneath)
    try:
        outbox.timer.start()
        for entry in reads[name](opened, arguments):
            outbox.put(entry)
        outbox.timer.stop()
    except TimeUp:
        return "time"
    except _Enough:
        return "limit"
    finally:
        outbox.timer.stop()
        opened.close()
    return "done"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {shown(str(error).encode('utf-8', 'backslashreplace'))}"


class _Outbox:
    """Collects entries and sends them, up to a limit."""

    def __init__(self, task: Task, timer: Timer) -> None:
        self._task = task
        self.timer = timer
        self._lines: list[bytes] = []
        self._held = 0
        self._left = MAX_BYTES
        self.entries = 0

    def put(self, entry: Object) -> None:
        """Send an entry."""
        line = encode_object(entry) + b"\n"
        self._left -= len(line)
        if self._left < 0:
            raise _Enough
        self.entries += 1
        self._lines.append(line)
        self._held += len(line)
        if self._held > CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        self.timer.holding = True
        found, self._lines, self._held = b"".join(self._lines), [], 0
        for start in range(0, len(found), CHUNK_BYTES):
            self._task.send_body(found[start : start + CHUNK_BYTES])
        self.timer.holding = False
