"""Say where programs that pairlock starts on the host are looked for; containers have their own PATH."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def search_elsewhere() -> None:
    """Look for programs (ssh, git, a pager) by whole paths alone, and nowhere in what one works on.

    Any other part of PATH, the empty one too, is a folder of where one works: a clone's, or an agent's. So is
    one in the current folder or a repository around it, unless that holds the home: one's own lie there.
    """
    _search([part for part in os.get_exec_path() if part.startswith("/")])
    for folder in _worked_on():
        search_outside(folder)


def _worked_on() -> Iterator[Path]:
    try:
        here = Path.cwd()
    except OSError:  # it was removed: nothing lies in it
        return
    try:
        home = Path(os.path.realpath(Path.home()))
    except RuntimeError:  # nobody says where that is
        home = Path("/")
    around = (folder for folder in here.parents if os.path.lexists(folder / ".git"))
    yield from (folder for folder in (here, *around) if not home.is_relative_to(folder))


def search_outside(folder: Path) -> None:
    """Look for programs nowhere in a folder that an agent works on: it may write an `ssh` of its own there.

    An active virtual environment is such a part of PATH, and so is a `bin` that some tool puts there.

    Args:
        folder: The workspace, resolved.
    """
    _search([part for part in os.get_exec_path() if not Path(os.path.realpath(part)).is_relative_to(folder)])


def _search(parts: list[str]) -> None:
    os.environ["PATH"] = os.pathsep.join(parts) or os.defpath
