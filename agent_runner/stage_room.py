"""Tell the agent which limit of its stage a command would pass, before the command writes anything.

What programs write, nobody can ask about first: `watch` measures it.
"""

from __future__ import annotations

import asyncio
import base64
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sandbox import stage
from sandbox.errors import OperationError
from sandbox.spec import WORKSPACE
from sandbox.stage.beneath import Beneath, parents_of
from sandbox.stage.errors import PathRefusedError
from sandbox.stage.quota import Exceeded, UpperUse, UpperWatch, judge
from sandbox.stage.sides import at_or_below
from sandbox.stage.start import PAGE_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.guest.objects import Object
    from sandbox.stage import StageLimits, StagePlan

_WRITING: Final = frozenset({"files.write", "files.patch", "files.move"})
"""The guest's operations that can make a stage larger."""


@dataclass(frozen=True, slots=True)
class Layers:
    """What the agent sees, as far as the host can look at it."""

    folders: tuple[Path, ...]
    """The topmost, which is the agent's own, first."""
    absent: frozenset[str]
    """What is hidden: not even a length of it may come out in a refusal."""

    def size(self, path: str, *, below_top: bool = False) -> int:
        """Return a file's length, bytes; 0 for what is no file, is hidden or cannot be seen from here.

        Args:
            path: Relative to the workspace.
            below_top: Whether one that the agent has in its own layer counts nothing.
        """
        if not path or at_or_below(path, self.absent):
            return 0
        for number, folder in enumerate(self.folders):
            try:
                with Beneath.open(folder) as tree:
                    status = tree.stat(path)
            except PathRefusedError:
                return 0
            if status is not None:
                counts = stat.S_ISREG(status.st_mode) and not (below_top and number == 0)
                return status.st_size if counts else 0
        return 0


@dataclass(slots=True)
class OverlayRoom:
    """What an overlay has room for; `sandbox.session.Room`."""

    limits: StageLimits
    upper: UpperWatch
    layers: Layers
    bytes_at_most: int = 0
    """What the agent's commands can have written in all, bytes: what was seen last, and what came since."""
    files_at_most: int = 0
    """The same in files and folders."""

    async def admit(self, operation: str, arguments: Object, size: int) -> None:
        """Let an operation write, or say which limit it would pass.

        Args:
            operation: The guest's operation.
            arguments: Its arguments.
            size: Bytes of what it is given to write.

        Raises:
            OperationError: When there is no room for it.
        """
        if operation not in _WRITING:
            return
        path = _path(arguments, "to" if operation == "files.move" else "path")
        more_bytes = _in_pages(size + await asyncio.to_thread(self._anew, operation, arguments))
        more_files = path.count("/") + 1
        if _passed(self.limits, self.bytes_at_most + more_bytes, self.files_at_most + more_files):
            use, more_files = await asyncio.to_thread(_seen, self.upper, path)
            self.bytes_at_most, self.files_at_most = use.written_bytes, use.written_files
            _require(self.limits, self.bytes_at_most + more_bytes, self.files_at_most + more_files)
        self.bytes_at_most += more_bytes
        self.files_at_most += more_files

    def _anew(self, operation: str, arguments: Object) -> int:
        """Return what is written beside what an operation is given: a patched file, one moved from below."""
        if operation == "files.write":
            return 0
        return self.layers.size(_path(arguments, "path"), below_top=operation == "files.move")

    def told(self, error: OperationError) -> OperationError:
        """Return the error as it is."""
        return error


@dataclass(slots=True)
class CopyRoom:
    """What a copy has room for, as far as commands wrote in it: it is seen only when it has come back."""

    limits: StageLimits
    layers: Layers
    """What was sent."""
    written: dict[str, int] = field(default_factory=dict)
    """What commands wrote: path -> bytes."""

    async def admit(self, operation: str, arguments: Object, size: int) -> None:
        """As `OverlayRoom.admit`."""
        path = _path(arguments, "path")
        if operation == "files.remove":
            self._forget(path, with_all=arguments.get("recursive") is True)
        if operation not in _WRITING:
            return
        after, known = dict(self.written), self.written.get(path)
        there = known if known is not None else await asyncio.to_thread(self.layers.size, path)
        match operation:
            case "files.move":
                more, to = (0 if known is not None else there), _path(arguments, "to")
                # A move that is refused leaves what stands there.
                after[to] = max(after.pop(path, there), after.get(to, 0))
            case "files.patch":
                more, after[path] = there + size, there + _growth(arguments, size)
            case _:
                more = after[path] = size
        # What a file is replaced with stands beside it first.
        _require(self.limits, sum(map(_in_pages, self.written.values())) + _in_pages(more), len(after))
        self.written = after

    def _forget(self, path: str, *, with_all: bool) -> None:
        """Take off what is removed: a folder that is not empty stays unless all that is in it is to go."""
        below = path + "/"
        self.written = {
            name: n
            for name, n in self.written.items()
            if name != path and not (with_all and name.startswith(below))
        }

    def told(self, error: OperationError) -> OperationError:
        """Return the error, that of a full copy with the limits that made it so small."""
        if error.code != "no-space":
            return error
        allowed = (
            f"`written_bytes: {self.limits.written_bytes}`, `written_files: {self.limits.written_files}`"
        )
        return OperationError(error.code, f"{error.message}: the copy is as large as {allowed} let it be")


def _growth(arguments: Object, size: int) -> int:
    """Return how many bytes longer a patch makes a file at most, as far as what it is given tells."""
    old = arguments.get("old_bytes")
    if arguments.get("form") == "replace" and isinstance(old, int) and arguments.get("every") is not True:
        return max(0, size - 2 * old)
    return size


def _in_pages(size: int) -> int:
    return -(-size // PAGE_BYTES) * PAGE_BYTES


def _passed(limits: StageLimits, written_bytes: int, written_files: int) -> tuple[Exceeded, ...]:
    use = UpperUse(
        written_bytes=written_bytes, written_files=written_files, free_bytes=0, free_inodes=-1, seconds=0.0
    )
    return judge(use, replace(limits, reserve_bytes=0))


def _require(limits: StageLimits, written_bytes: int, written_files: int) -> None:
    for passed in _passed(limits, written_bytes, written_files):
        raise OperationError("limit", passed.message)


def _seen(upper: UpperWatch, path: str) -> tuple[UpperUse, int]:
    """Measure a stage, and count what of a path it does not hold yet."""
    with Beneath.open(upper.upper) as tree:
        return upper.look(), sum(not _is_there(tree, part) for part in (path, *parents_of(path)))


def _is_there(tree: Beneath, path: str) -> bool:
    try:
        return tree.stat(path) is not None
    except PathRefusedError:
        return False


def _path(arguments: Object, name: str) -> str:
    """Return a path of an operation, as the stage has it; a wrong one, the guest refuses."""
    encoded = arguments.get(f"{name}_base64")
    with suppress(ValueError):
        raw = os.fsdecode(base64.b64decode(str(encoded))) if encoded else str(arguments.get(name, ""))
        return "/".join(part for part in raw.removeprefix(WORKSPACE).split("/") if part not in {"", "."})
    return ""


def room_of(plan: StagePlan | None, limits: StageLimits | None) -> OverlayRoom | CopyRoom | None:
    """Return the room of a stage; None where nothing waits for a review."""
    match plan:
        case stage.Overlay() if limits is not None:
            layers = Layers((plan.upper, *plan.lower), frozenset(plan.facts.absent))
            return OverlayRoom(limits, UpperWatch(plan.upper, limits), layers)
        case stage.Copy(writable=True) if limits is not None:
            facts = plan.facts
            return CopyRoom(
                limits, Layers((facts.folder.upper, facts.workspace.path), frozenset(facts.absent))
            )
        case _:
            return None
