"""Tell which sessions are over because a person took all that they changed, or threw it away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from audit import event
from audit.segments import Lines
from audit.state import StateFiles

if TYPE_CHECKING:
    from pathlib import Path

APPLIED: Final = "applied"
_KINDS: Final = (event.StageApplied.kind, event.StageDiscarded.kind)


def reviewed_sessions(state: Path) -> dict[str, str]:
    """Return session -> `applied` or `discarded`, by the host's log; none that has changes left."""
    found: dict[str, str] = {}
    log = StateFiles(state).log
    for line in Lines([log]) if log.exists() else ():
        if b'"type":"stage.' not in line:
            continue
        entry = orjson.loads(line)
        body, kind = entry["body"], entry["type"]
        if kind not in _KINDS:
            continue
        if kind == event.StageDiscarded.kind:
            found.setdefault(body.get("session"), "discarded")
        elif body.get("whole"):
            found.setdefault(body.get("session"), APPLIED)
    return found
