"""Say where the reports of the sessions above and below one are; only a session's id makes an address."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from audit.state import ID_PATTERN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from agent_runner.report.fold import SessionFold

_HEAD_BYTES: Final = 4096
"""Within which a report has its title."""


def related(fold: SessionFold) -> list[str]:
    """Return the sessions that a ledger names as its parent and its children, whatever stands there."""
    above = [fold.opened.parent] if fold.opened and fold.opened.parent else []
    return [*above, *fold.children]


def served(sessions: Iterable[str], known: Collection[str], *, home: str) -> dict[str, str]:
    """Return session -> its page on a server, of those that it has.

    Args:
        sessions: As a ledger names them.
        known: The ids of the state folder.
        home: The path below which the server has its pages.
    """
    return {session: f"{home}session/{session}" for session in sessions if session in known}


def written_beside(sessions: Iterable[str], target: Path, *, session: str) -> dict[str, str]:
    """Return session -> the page in the same folder whose name is a page's own, but for the session's id.

    Args:
        sessions: As a ledger names them.
        target: The file of this page.
        session: Whose page it is.
    """
    if session not in target.name:
        return {}
    found = {}
    for other in sessions:
        if ID_PATTERN.fullmatch(other):
            place = target.with_name(target.name.replace(session, other))
            if _is_report(place, other):
                found[other] = f"./{quote(os.fsencode(place.name))}"
    return found


def _is_report(place: Path, session: str) -> bool:
    """Tell whether a file says of itself that it is a session's report."""
    if place.is_symlink() or not place.is_file():
        return False
    try:
        with place.open("rb") as file:
            return f"pairlock session {session}</title>".encode() in file.read(_HEAD_BYTES)
    except OSError:
        return False
