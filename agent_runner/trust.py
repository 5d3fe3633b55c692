"""Remember which policies of workspaces a person trusts, by digest, in the host's log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from agent_runner.package import pairlock_version
from agent_runner.person import who
from audit.host import HostLog
from audit.host_event import PolicyDistrusted, PolicyTrusted
from audit.index import read_index
from audit.segments import Lines
from audit.state import StateFiles

if TYPE_CHECKING:
    from pathlib import Path

_WORDS = frozenset({PolicyTrusted.kind, PolicyDistrusted.kind})


def is_trusted(state: Path, digest: str) -> bool:
    """Say whether a policy of this digest is trusted; the last word in the host's log counts.

    Raises:
        audit.errors.BrokenLedgerError: When the host's log does not verify.
    """
    files = StateFiles(state)
    index = read_index(files)
    if index.broken is not None:
        raise index.broken
    trusted = False
    for line in Lines([files.log]) if files.log.exists() else ():
        entry = orjson.loads(line)
        if entry["type"] in _WORDS and entry["body"].get("digest") == digest:
            trusted = entry["type"] == PolicyTrusted.kind
    return trusted


def trust(state: Path, *, origin: str, digest: str) -> None:
    """Write down that a person trusts a policy as it stands."""
    with HostLog(state, writer=pairlock_version()) as log:
        log.append(PolicyTrusted(origin=origin, digest=digest, by=who()))
