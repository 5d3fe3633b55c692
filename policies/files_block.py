"""The block `files`: how the workspace is held, what of it is hidden, what is protected."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from policies.block import Block
from policies.globs import Glob, GlobSet
from policies.leaves import CountField, GlobField, SizeField, choice
from policies.package_data import default_globs, kept_globs
from policies.units import Bytes, Count


class FileLimits(Block):
    """How much a session may write."""

    written_bytes: SizeField = Field(
        default=Bytes(64 * 2**20), description="bytes written in all; `0B` is none"
    )
    written_files: CountField = Field(default=Count(2000), description="files written in all; 0 is none")


class FilesBlock(Block):
    """The workspace, as the session sees it."""

    access: Annotated[
        Literal["read", "stage", "direct"], *choice("how the workspace is held", "read", "stage", "direct")
    ] = Field(
        default="stage",
        description="`read`: no writing; `stage`: changes wait for a review; `direct`: written at once",
    )
    hide: tuple[GlobField, ...] = Field(default=(), description="not there at all; adds to the defaults")
    hide_defaults: bool = Field(default=True, description="also hide the usual places of secrets")
    visible: tuple[GlobField, ...] = Field(default=(), description="exceptions from the defaults of `hide`")
    protect: tuple[GlobField, ...] = Field(
        default=(), description="seen, never written; adds to the defaults"
    )
    protect_defaults: bool = Field(default=True, description="also protect what the host runs or obeys later")
    limits: FileLimits = Field(default=FileLimits(), description="how much may be written")

    @cached_property
    def _sets(self) -> tuple[GlobSet, GlobSet, GlobSet]:
        return GlobSet(self.hide), GlobSet(self.visible), GlobSet(self.protect)

    def hides(self, glob: Glob) -> bool:
        """Tell whether the policy itself hides by a glob; else it is a default.

        Args:
            glob: What hides a path.

        Returns:
            True when it stands in `hide`.
        """
        return any(glob is own for own in self.hide)

    def protects(self, glob: Glob) -> bool:
        """Tell whether the policy itself protects by a glob; else it is a default.

        Args:
            glob: What protects a path.

        Returns:
            True when it stands in `protect`.
        """
        return any(glob is own for own in self.protect)

    def hidden_by(self, path: str) -> Glob | None:
        """Find what hides a path.

        Args:
            path: A canonical path, relative to the workspace.

        Returns:
            The glob, or None when the path is visible.
        """
        if path == ".":
            return None
        if found := self._sets[0].find(path):
            return found
        return self._hidden_by_default(path) if self.hide_defaults else None

    def _hidden_by_default(self, path: str) -> Glob | None:
        found = default_globs("hide").find(path)
        if found is None:
            return None
        folder, _, name = path.rpartition("/")
        # A template is excepted by its own name; what hides the folder that it lies in still holds.
        if self._sets[1].find(path) is None and default_globs("visible").find(name) is None:
            return found
        return self._hidden_by_default(folder) if folder else None

    def protected_by(self, path: str) -> Glob | None:
        """Find what protects a path from being written.

        Args:
            path: A canonical path, relative to the workspace.

        Returns:
            The glob, or None when the path may be written.
        """
        if found := self._sets[2].find(path):
            return found
        return default_globs("protect").find(path) if self.protect_defaults else None

    @property
    def protected_globs(self) -> tuple[Glob, ...]:
        """Return everything by which paths are protected, the defaults included."""
        return (*self.protect, *(default_globs("protect").globs if self.protect_defaults else ()))

    def kept_by(self, path: str) -> Glob | None:
        """Find what protects a path from being removed when changes are applied.

        Args:
            path: A canonical path, relative to the workspace.

        Returns:
            The glob, or None when the path may be removed: of the defaults, compiled code alone is not kept.
        """
        if found := self._sets[2].find(path):
            return found
        return kept_globs().find(path) if self.protect_defaults else None
