"""Hold the bounds of one sandbox. There is no unlimited: every bound is a positive number."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB

GUEST_PROCESSES: Final = 16
"""Processes kept for the guest and its workers, beyond what the agent's programs may use."""

KERNEL_PROCESSES: Final = 512
"""Threads kept for a runtime that brings its own kernel: gVisor's are counted with the agent's, and its
kernel dies of the limit with everything in it (tried: below some hundreds)."""

GUEST_MEMORY_BYTES: Final = 96 * MIB
"""Memory kept for the guest and its workers, beyond what the agent's programs and the scratch may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bound what one sandbox may use; zero and less are refused."""

    memory_bytes: int = 1 * GIB
    """Memory for the agent's programs; the scratch and the guest come on top. Swap is off."""
    cpus: float = 2.0
    """Processors, as a share of wall time: 0.5 is half of one."""
    processes: int = 256
    """Processes and threads of the agent's programs."""
    scratch_bytes: int = 512 * MIB
    """Size of the scratch folder, held in memory."""
    scratch_files: int = 65536
    """Files and folders in the scratch folder."""
    open_files: int = 4096
    """Open files of one process."""
    wall_seconds: float = 1800.0
    """Life of the sandbox, from start to the guest's own end."""
    action_seconds: float = 300.0
    """Longest that one action may take."""
    action_output_bytes: int = 8 * MIB
    """Output of one action, stdout and stderr together; what is beyond is dropped and counted."""
    session_output_bytes: int = 1 * GIB
    """Output of all actions together."""
    file_bytes: int = 1 * GIB
    """Largest file that a program may write."""
    copy_bytes: int = 1 * GIB
    """Most that a workspace may take that is copied into memory, because no mount can bring it."""
    copy_files: int = 262_144
    """Most files and folders of such a workspace."""
    written_files: int = 262_144
    """Files and folders that may be added to it; `file_bytes` is what may be added to its content."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"`{field.name}` must be more than zero")
