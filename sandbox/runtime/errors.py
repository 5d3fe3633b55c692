"""Name what can go wrong while the runtime volume or an image is built; nothing here builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from pathlib import Path


class RuntimeBuildError(SandboxError):
    """Raised when the runtime volume or an image could not be built from what this machine has."""


class NotAnElfError(RuntimeBuildError):
    """Raised when a file is not a 64-bit little-endian ELF file.

    Args:
        path: The file that was read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f"`{path}` is not a 64-bit little-endian ELF file")
        self.path = path


class LibraryMissingError(RuntimeBuildError):
    """Raised when this machine has no shared library that a program of its own needs.

    Args:
        path: The program or library that needs it.
        library: The name that was looked for.
    """

    def __init__(self, path: Path, library: str) -> None:
        super().__init__(
            f"`{path}` needs the shared library `{library}`, and this machine has none of that name"
        )
        self.path = path
        self.library = library
