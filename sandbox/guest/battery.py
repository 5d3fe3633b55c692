"""Gather the probes of `pairlock doctor --probe`: more than the self-test needs, loaded when one is named.

Each either returns (it was allowed), or raises what the kernel answered. Those that ask the kernel for what
is refused have arguments that do no harm where it is not. The other battery modules hold them by subject.
"""

from __future__ import annotations

from . import (
    battery_bombs,
    battery_calls,
    battery_code,
    battery_paths,
    battery_rights,
    battery_sockets,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PROBES: dict[str, Callable[[], object]] = {
    **battery_calls.PROBES,
    **battery_sockets.PROBES,
    **battery_paths.PROBES,
    **battery_code.PROBES,
    **battery_rights.PROBES,
    **battery_bombs.PROBES,
}
"""Name to attempt."""
