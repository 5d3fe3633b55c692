"""Say where a symlink of the agent's leads, through every other symlink on its way; nothing is followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.stage.base import Seen
from sandbox.stage.beneath import parents_of
from sandbox.stage.errors import PathRefusedError

if TYPE_CHECKING:
    from sandbox.stage.opened import OpenStage
    from sandbox.stage.upper import UpperTree

MOST_LINKS: Final = 40
"""How many symlinks the kernel follows in one name (path_resolution(7)); a longer chain leads nowhere."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where a symlink leads."""

    places: tuple[str, ...] = ()
    """Each other symlink that is passed, and the end, as paths of the workspace."""
    out: bool = False
    """Whether it leads, or may lead, out of the workspace."""


@dataclass(frozen=True, slots=True)
class Links:
    """The symlinks of the tree that an apply would leave: the agent's, and the user's below them."""

    stage: OpenStage
    upper: UpperTree

    def way(self, path: str, target: str) -> Way:
        """Return where a symlink at `path` leads.

        A symlink to what is protected or hidden is a second name for it, under which others may write or show
        it; so is one to a folder's symlink that leads there.
        """
        if leads_out(path, target):
            return Way(out=True)
        here = path.split("/")[:-1]
        places: list[str] = []
        ahead = target.split("/")[::-1]
        while ahead and len(places) < MOST_LINKS:
            part = ahead.pop()
            if part == "..":
                if not here:
                    return Way(tuple(places), out=True)
                here.pop()
            elif part not in {"", "."}:
                step = "/".join([*here, part])
                if (link := self._link(step)) is None:
                    here.append(part)
                    continue
                places.append(step)
                if link.startswith("/"):
                    return Way(tuple(places), out=True)
                ahead += link.split("/")[::-1]
        return Way(tuple(filter(None, (*places, "/".join(here)))))

    def _link(self, path: str) -> str | None:
        """Return where a path points; None when it is no symlink, or nothing."""
        seen = self.upper.entries.get(path)
        try:
            if seen is not None:
                return self.stage.upper.readlink(path) if seen.is_symlink else None
            if self._removed(path):
                return None
            status = self.stage.live.stat(path)
            is_link = status is not None and Seen.of(status).is_symlink
            return self.stage.live.readlink(path) if is_link else None
        except PathRefusedError:
            return None

    def _removed(self, path: str) -> bool:
        """Tell whether the agent removed what the user has at a path."""
        above = tuple(parents_of(path))
        if path in self.upper.deleted or not self.upper.deleted.isdisjoint(above):
            return True
        return not self.upper.opaque.isdisjoint(above)


def leads_out(path: str, target: str) -> bool:
    """Tell whether a symlink at `path` points, or may point, outside the workspace, by its text alone.

    A `..` after a name counts as leading out: the name may be a symlink itself, also one of another machine.
    """
    parts = [part for part in target.split("/") if part not in {"", "."}]
    ups = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    return target.startswith("/") or ups > path.count("/") or ".." in parts[ups:]
