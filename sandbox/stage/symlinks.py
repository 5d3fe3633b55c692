"""Say where a symlink of the agent's leads, through every other symlink on its way; nothing is followed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.stage.base import Seen
from sandbox.stage.beneath import parents_of
from sandbox.stage.errors import PathRefusedError

if TYPE_CHECKING:
    from sandbox.stage.beneath import Beneath
    from sandbox.stage.opened import OpenStage
    from sandbox.stage.upper import UpperTree

MOST_LINKS: Final = 40
"""How many symlinks the kernel follows in one name (path_resolution(7)); a longer chain leads nowhere."""
MOST_PARTS: Final = 1024
"""How many names are looked at for one symlink, on all its ways; one with more may lead anywhere."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where a symlink leads."""

    places: tuple[str, ...] = ()
    """Each other symlink that is passed, and each end, as paths of the workspace; empty for itself."""
    out: bool = False
    """Whether it leads, or may lead, out of the workspace."""


@dataclass(slots=True)
class _Walker:
    """One of the ways on which a symlink may lead."""

    here: list[str]
    """The folder that is reached, name by name."""
    ahead: list[str]
    """The names that are left, the next one last."""
    solid: int
    """How many names of `here` are there at all; below the others nothing needs to be looked at."""
    passed: int = 0
    """How many symlinks lie behind."""

    @property
    def arrived(self) -> bool:
        """Tell whether the way ends here."""
        return not self.ahead or self.passed == MOST_LINKS

    def up(self) -> None:
        """Go to the folder above."""
        self.here.pop()
        self.solid = min(self.solid, len(self.here))

    def into(self, name: str, *, there: bool) -> None:
        """Go on as one for whom a name is no symlink."""
        self.here.append(name)
        self.solid += there

    def through(self, link: str) -> _Walker:
        """Return one for whom it is one."""
        return _Walker(list(self.here), self.ahead + _parts(link), self.solid, self.passed + 1)


@dataclass(frozen=True, slots=True)
class Links:
    """The symlinks of every tree that an apply could leave: the agent's, and the user's.

    An apply may leave any of the agent's changes out: those that nobody chose, and those that are refused.
    So where the two have something else at a path, both ways are gone.
    """

    stage: OpenStage
    upper: UpperTree
    found: dict[str, dict[str | None, bool]] = field(default_factory=dict)
    """What `_links` said of the paths at which there is something."""

    def way(self, path: str, target: str) -> Way:
        """Return where a symlink at `path` leads.

        A symlink to what is protected or hidden is a second name for it, under which others may write or show
        it; so is one to a folder's symlink that leads there.
        """
        if leads_out(path, target):
            return Way(out=True)
        return self._walk(path, target)

    def places(self, path: str) -> tuple[str, ...]:
        """Return each place to which a symlink at `path` leads, by its text and not only where that is plain.

        Empty for what is no symlink; an empty name is the workspace itself.
        """
        top = f"{self.stage.workspace.path}/"
        targets = [link for link in self._links(path) if link is not None]
        inside = [
            f"{'../' * path.count('/')}{link.removeprefix(top)}" if link.startswith(top) else link
            for link in targets
        ]
        places = {
            place: None
            for link in inside
            if not link.startswith("/")
            for place in self._walk(path, link).places
        }
        if (now := self._users(path)) is not None and now.is_symlink:  # one may go out, and come back in
            places.update(dict.fromkeys(places_of(Path(self.stage.workspace.path), path)))
        return tuple(places)

    def _walk(self, path: str, target: str) -> Way:
        here, places, out = path.split("/")[:-1], dict[str, None](), False
        walkers = [_Walker(here, _parts(target), len(here))]
        for _ in range(MOST_PARTS):
            if not walkers:
                return Way(tuple(places), out)
            walker = walkers.pop()
            if walker.arrived:
                if not walker.ahead:  # else it goes in a circle, and ends nowhere
                    places["/".join(walker.here)] = None
            elif (name := walker.ahead.pop()) != "..":
                out |= self._step(walker, name, walkers, places)
            elif walker.here:
                walker.up()
                walkers.append(walker)
            else:
                out = True
        return Way((*places, ""), out=True)

    def _step(self, walker: _Walker, name: str, walkers: list[_Walker], places: dict[str, None]) -> bool:
        """Add those who go on from one name, and the symlink they pass; tell whether one way is out."""
        if walker.solid < len(walker.here):
            found = dict[str | None, bool]()
        else:
            step = "/".join([*walker.here, name])
            found = self._links(step)
        for link, out in found.items():
            if link is not None:
                places[step] = None
                if not out:
                    walkers.append(walker.through(link))
        if not found or None in found:
            walker.into(name, there=bool(found))
            walkers.append(walker)
        return any(found.values())

    def _links(self, path: str) -> dict[str | None, bool]:
        """Return where a path may point, and whether that is out.

        None stands for what is no symlink; where there is nothing in either tree, the answer is empty.
        """
        if (known := self.found.get(path)) is not None:
            return known
        found: dict[str | None, bool] = {}
        seen, now = self.upper.entries.get(path), self._users(path)
        if seen is not None:
            link = _target(self.stage.upper, path, seen)
            found[link] = link is not None and leads_out(path, link)
        elif now is not None and self._removed(path):
            found[None] = False
        if now is not None:
            link = _target(self.stage.live, path, now)
            found.setdefault(link, link is not None and link.startswith("/"))
        if found:
            self.found[path] = found
        return found

    def _users(self, path: str) -> Seen | None:
        """Return what the user has at a path; None for nothing."""
        try:
            status = self.stage.live.stat(path)
        except PathRefusedError:
            return None
        return None if status is None else Seen.of(status)

    def _removed(self, path: str) -> bool:
        """Tell whether the agent removed what the user has at a path."""
        above = tuple(parents_of(path))
        if path in self.upper.deleted or not self.upper.deleted.isdisjoint(above):
            return True
        return not self.upper.opaque.isdisjoint(above)


def _target(folder: Beneath, path: str, seen: Seen) -> str | None:
    """Return where a path points; None when it is no symlink, or not any more."""
    try:
        return folder.readlink(path) if seen.is_symlink else None
    except PathRefusedError:
        return None


def _parts(target: str) -> list[str]:
    """Return the names of a symlink's text, the first one last."""
    return [part for part in reversed(target.split("/")) if part not in {"", "."}]


def places_of(root: Path, link: str) -> tuple[str, ...]:
    """Return each symlink that is passed behind one, and the end, as far as they lie in a folder.

    Args:
        root: The folder, resolved.
        link: A path in it; no place is returned for what is no symlink.

    Returns:
        The places, relative to the folder; empty for itself, and for one that may lead anywhere.
    """
    here, ahead, places, passed = root, link.split("/")[::-1], list[Path](), 0
    for _ in range(MOST_PARTS):
        if not ahead or passed > MOST_LINKS:
            break
        name = ahead.pop()
        if name == "..":
            here = here.parent
            continue
        step = here / name
        try:
            target = step.readlink()
        except OSError:  # no symlink, or nothing
            here = step
            continue
        passed += 1
        places.append(step)
        here = Path("/") if target.is_absolute() else here
        ahead += reversed(target.parts[bool(target.anchor) :])
    if passed <= MOST_LINKS:  # else it goes in a circle, and ends nowhere
        places.append(root if ahead else here)
    inside = [place for place in places if place.is_relative_to(root) and place != root / link]
    return tuple(dict.fromkeys("/".join(place.relative_to(root).parts) for place in inside))


def leads_out(path: str, target: str) -> bool:
    """Tell whether a symlink at `path` points, or may point, outside the workspace, by its text alone.

    A `..` after a name counts as leading out: the name may be a symlink itself, also one of another machine.
    """
    parts = [part for part in target.split("/") if part not in {"", "."}]
    ups = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    return target.startswith("/") or ups > path.count("/") or ".." in parts[ups:]
