"""The three things that an agent may hold at most two of."""

from __future__ import annotations

from enum import Enum


class Capability(Enum):
    """One of the three capabilities; the order of definition is the order in which they are written."""

    FILES = "files"
    NETWORK = "network"
    EXEC = "exec"


def in_order(capabilities: frozenset[Capability]) -> tuple[str, ...]:
    """Name capabilities in the one order that they are written in.

    Args:
        capabilities: Any set of them.

    Returns:
        Their names: files before network before exec.
    """
    return tuple(capability.value for capability in Capability if capability in capabilities)
