"""Describe the ways in which a session can see its workspace; `plan` chooses one, the engine does it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sandbox.stage.layout import StageFolder
    from sandbox.stage.moment import Moment
    from sandbox.workspace import Workspace

OVERLAY_OPTIONS: Final = ("userxattr", "redirect_dir=nofollow", "metacopy=off", "index=off")
"""`nofollow`, not `off`: where the kernel follows redirects by default, `off` means `follow`, and the mount
with `userxattr` is refused (tried on Linux 6.18; see Documentation/filesystems/overlayfs.rst)."""

STAGE_VERSION: Final = 2
"""Of the format in which a stage says how it was made, and of its record: 1 held what every file was."""


class Access(StrEnum):
    """What a policy's `files.access` says."""

    READ = "read"
    STAGE = "stage"
    DIRECT = "direct"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFacts:
    """What is true of a stage whatever its strategy; for the ledger, the attestation and the reader."""

    workspace: Workspace
    """The user's folder."""
    folder: StageFolder
    """Where the stage's own files lie."""
    access: Access
    """What the policy asked for."""
    executable: bool
    """Whether the session holds `exec`; without it the mount is noexec."""
    uid: int
    """The session's uid inside the container, and the owner of what it writes."""
    gid: int
    """The session's gid."""
    entries: int
    """How many paths the agent can see."""
    folders: Mapping[str, int]
    """The folders among them, and the ctime that each had, nanoseconds since 1970."""
    hidden: tuple[str, ...]
    """Paths that `hide` matched, and hard links to them."""
    special: tuple[str, ...]
    """Sockets, pipes and devices, hidden because they lead out of the sandbox."""
    unreadable: tuple[str, ...]
    """Folders that could not be listed, hidden because nobody knows what they hold."""
    other_mounts: tuple[str, ...]
    """Folders with another filesystem on them; the agent sees them empty."""
    scan_seconds: float
    """How long the one walk of the workspace took."""
    moment: Moment
    """When the walk began, by the clock that files are stamped with."""
    reason: str
    """Why this strategy and no other, for `explain` and the ledger."""

    @property
    def absent(self) -> tuple[str, ...]:
        """Return every path that the agent must not find, sorted."""
        return tuple(sorted({*self.hidden, *self.special, *self.unreadable}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Mount an overlay on the live workspace."""

    facts: StageFacts
    lower: tuple[Path, ...]
    """Read-only layers, topmost first."""
    upper: Path
    """The writable layer."""
    work: Path
    """The kernel's work folder, on the same filesystem as `upper`."""

    @property
    def options(self) -> str:
        """Return the mount options, for `type=overlay`."""
        return overlay_options(self.lower, self.upper, self.work, executable=self.facts.executable)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayOnCopy(Overlay):
    """Mount an overlay on a copy, because the workspace's files belong to another uid than the session's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOnly:
    """Mount the workspace read-only: a bind for one layer, an overlay without an upper folder for several."""

    facts: StageFacts
    lower: tuple[Path, ...]
    """Layers, topmost first."""

    @property
    def options(self) -> str:
        """Return the mount options, for `type=overlay`; of use only with two layers or more."""
        return overlay_options(self.lower, None, None, executable=self.facts.executable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Send the content into the sandbox as a tar stream, and fetch it back, because no mount can be had."""

    facts: StageFacts
    writable: bool
    """Whether the agent may change its copy."""
    content_bytes: int
    """What the workspace's files take in a memory file system, bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """Bind the workspace itself, writable. What `facts.hidden` lists can be seen by any program in there."""

    facts: StageFacts
    source: Path
    """The workspace."""


StagePlan = Overlay | OverlayOnCopy | ReadOnly | Copy | Direct


def overlay_options(
    lower: tuple[Path, ...], upper: Path | None, work: Path | None, *, executable: bool
) -> str:
    """Return the options of an overlay mount; without an upper and a work folder it is read-only."""
    parts = [f"lowerdir={':'.join(map(str, lower))}"]
    if upper is not None and work is not None:
        parts += [f"upperdir={upper}", f"workdir={work}"]
    parts += [*OVERLAY_OPTIONS, "nosuid", "nodev"]
    if upper is None:
        parts.append("ro")
    if not executable:
        parts.append("noexec")
    return ",".join(parts)


def about_plan(plan: StagePlan) -> bytes:
    """Return what another process needs in order to read this stage, as JSON."""
    facts = plan.facts
    identity = facts.workspace.identity
    about = {
        "version": STAGE_VERSION,
        "strategy": type(plan).__name__,
        "access": facts.access.value,
        "workspace": {
            "path": identity.path,
            "device": identity.device,
            "inode": identity.inode,
            "birth_ns": identity.birth_ns,
        },
        "uid": facts.uid,
        "gid": facts.gid,
        "absent": facts.absent,
        "reason": facts.reason,
    }
    return json.dumps(about, indent=1).encode()
