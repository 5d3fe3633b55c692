"""Say where programs that pairlock starts on the host are looked for; containers have their own PATH."""

from __future__ import annotations

import os
from pathlib import Path


def search_whole_paths() -> None:
    """Look for programs (ssh, git, a pager) by whole paths alone.

    Any other part of PATH, the empty one too, is a folder of where one works: a clone's, or an agent's.
    """
    _search([part for part in os.get_exec_path() if part.startswith("/")])


def search_outside(folder: Path) -> None:
    """Look for programs nowhere in a folder that an agent works on: it may write an `ssh` of its own there.

    An active virtual environment is such a part of PATH, and so is a `bin` that some tool puts there.

    Args:
        folder: The workspace, resolved.
    """
    _search([part for part in os.get_exec_path() if not Path(os.path.realpath(part)).is_relative_to(folder)])


def _search(parts: list[str]) -> None:
    os.environ["PATH"] = os.pathsep.join(parts) or os.defpath
