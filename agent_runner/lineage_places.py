"""Find which labels count for a folder: its own, of folders inside and around it, moved into it and gone."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.lineage_mounts import Mounts
from agent_runner.lineage_since import Since
from policies.lineage import Label
from sandbox.stage.errors import LabelError
from sandbox.workspace import birth_ns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent_runner.lineage_mounts import Location
    from sandbox.stage.labels import Labels
    from sandbox.workspace import WorkspaceIdentity


class Place(Enum):
    """Where a labelled folder lies, as a workspace sees it."""

    HERE = "it is the workspace"
    INSIDE = "it is in the workspace"
    AROUND = "the workspace is in it"
    GONE = "it was in the workspace, or was it, and is there no longer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreviewed:
    """One label that counts for a workspace."""

    folder: WorkspaceIdentity
    """The labelled folder, with the path where it is now; of one that is gone, the path where it was."""
    label: Label
    place: Place
    since: Since = field(default_factory=Since, compare=False)
    """When it was looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """What is known of a workspace's labels before anybody looks into its folders."""

    placed: tuple[Unreviewed, ...]
    """Labels that count wherever their folder is now."""
    lost: tuple[tuple[WorkspaceIdentity, Label], ...]
    """Labels whose folder is not where it was labelled: it may have been moved, also into the workspace."""

    @property
    def whole(self) -> Label:
        """What counts for certain."""
        return joined(found.label for found in self.placed)

    @property
    def most(self) -> Label:
        """What would count if every lost folder were here."""
        return self.whole.joined(joined(label for _, label in self.lost))


def joined(labels: Iterable[Label]) -> Label:
    """Return all labels as one."""
    whole = Label()
    for label in labels:
        whole = whole.joined(label)
    return whole


def near(labels: Labels, workspace: WorkspaceIdentity) -> Near:
    """Return the labels that count for a folder by their path, and those that may have been moved there.

    Raises:
        sandbox.stage.errors.LabelError: When a label cannot be read, which is never an empty label.
    """
    placed, lost, mounts = [], [], Mounts.now()
    reach = mounts.reach(workspace.path) if mounts.show_a_filesystem_twice else ()
    for folder, label in labels.all():
        if not label.contributions:
            continue
        place = _place(folder, workspace) or _place_by_mounts(folder, reach, mounts)
        if place is not None:
            whose = workspace if place is Place.HERE else folder
            placed.append(Unreviewed(folder=whose, label=label, place=place))
        if place is not Place.HERE and not _is_there(folder):
            lost.append((folder, label))
    return Near(placed=tuple(placed), lost=tuple(lost))


def unreviewed(labels: Labels, workspace: WorkspaceIdentity) -> tuple[Unreviewed, ...]:
    """Return every label that counts for a folder; its own folders are looked through for moved ones.

    Raises:
        sandbox.stage.errors.LabelError: When a label cannot be read.
    """
    known = near(labels, workspace)
    moved = moved_here(known, workspace)
    seen = {found.folder.key for found in moved}
    every = (*(found for found in known.placed if found.folder.key not in seen), *moved)
    parts = (part.session for found in every for part in found.label.contributions)
    since = Since.now(labels.folder.parent, parts)
    every = tuple(replace(found, since=since) for found in every)
    return tuple(sorted(every, key=lambda found: (list(Place).index(found.place), found.folder.path)))


def moved_here(known: Near, workspace: WorkspaceIdentity) -> tuple[Unreviewed, ...]:
    """Find the lost folders that lie in the workspace, or around it, under another name."""
    wanted: dict[int, list[tuple[WorkspaceIdentity, Label]]] = {}
    for folder, label in known.lost:
        wanted.setdefault(folder.inode, []).append((folder, label))
    if not wanted:
        return ()
    around = ((str(path), Place.AROUND) for path in Path(workspace.path).parents)
    inside = ((path, Place.INSIDE) for path in _folders_in(workspace.path))
    found = []
    for path, place in (*around, *inside):
        with suppress(OSError):
            status = os.lstat(path)
            for folder, label in wanted.get(status.st_ino, ()):
                here = replace(folder, device=status.st_dev, birth_ns=birth_ns(path), path=path)
                if folder.same_folder(here):
                    moved = replace(folder, path=path)
                    found.append(Unreviewed(folder=moved, label=label, place=place))
    return tuple(found)


def only_of(shown: Iterable[Unreviewed], sessions: frozenset[str]) -> tuple[Unreviewed, ...]:
    """Return the part of labels that these sessions made.

    A folder that is gone is forgotten where it was as a whole, or not at all.
    """
    chosen = []
    for found in shown:
        parts = tuple(part for part in found.label.contributions if part.session in sessions)
        whole = parts == found.label.contributions
        if parts and (whole or found.place is not Place.GONE):
            chosen.append(replace(found, label=Label(parts)))
    return tuple(chosen)


def overlap(one: WorkspaceIdentity, other: WorkspaceIdentity) -> bool:
    """Tell whether one folder is the other, or lies within it: by name, and by what the names lead to."""
    if one.same_folder(other) or _lies_in(one.path, other.path) or _lies_in(other.path, one.path):
        return True
    mounts = Mounts.now()
    return any(
        here.within(there) or there.within(here)
        for here in mounts.reach(one.path)
        for there in mounts.reach(other.path)
    )


def _place(folder: WorkspaceIdentity, workspace: WorkspaceIdentity) -> Place | None:
    if folder.same_folder(workspace):
        return Place.HERE
    if not folder.path:
        return None
    if _lies_in(folder.path, workspace.path):
        return Place.INSIDE if _is_there(folder) else Place.GONE
    return Place.AROUND if _lies_in(workspace.path, folder.path) else None


def _place_by_mounts(folder: WorkspaceIdentity, reach: tuple[Location, ...], mounts: Mounts) -> Place | None:
    """Return where a folder lies that the workspace shows, or that shows the workspace, by a bind mount.

    What is only shown in part is not reviewed with the workspace: it counts as lying around it.

    Args:
        folder: The labelled folder.
        reach: Where what the workspace shows lies; empty where nothing is mounted twice.
        mounts: What is mounted.
    """
    own = mounts.location(folder.path) if reach and folder.path and _is_there(folder) else None
    if own is None:
        return None
    if any(own.within(shown) for shown in reach):
        return Place.INSIDE
    shown_there = mounts.reach(folder.path)
    return Place.AROUND if any(here.within(there) for here in reach for there in shown_there) else None


def _is_there(folder: WorkspaceIdentity) -> bool:
    """Tell whether a labelled folder is still where it was labelled."""
    try:
        status = os.lstat(folder.path)
    except OSError:
        return False
    return (status.st_ino, birth_ns(folder.path)) == (folder.inode, folder.birth_ns)


def _lies_in(inner: str, outer: str) -> bool:
    """Tell whether a folder is another or lies within it."""
    if Path(inner).is_relative_to(outer):
        return True
    try:
        reached = os.stat(outer)  # noqa: PTH116 - beside lstat, of a text
        return any((up.st_dev, up.st_ino) == (reached.st_dev, reached.st_ino) for up in _upwards(Path(inner)))
    except OSError:
        return False


def _upwards(folder: Path) -> Iterator[os.stat_result]:
    return (parent.stat() for parent in folder.parents)


def _folders_in(top: str) -> Iterator[str]:
    """Yield the folders below one; one that has just gone, or that this user cannot read, is passed over.

    Raises:
        LabelError: When another cannot be read: what was moved there would not be found.
    """
    for folder, names, _ in os.walk(top, onerror=_refuse_unread):
        yield from (os.path.join(folder, name) for name in names)  # noqa: PTH118 - of a whole tree, as text


def _refuse_unread(error: OSError) -> None:
    if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.EACCES}:
        why = (error.strerror or "").lower()
        raise LabelError(
            f"`{error.filename}` cannot be looked through for labelled folders: {why}"
        ) from error
