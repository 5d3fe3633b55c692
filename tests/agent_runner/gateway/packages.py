"""Copy installed packages, and what they need, to where programs in a sandbox can read them."""

from __future__ import annotations

import re
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SDKS = ("openai", "anthropic")


def copied(names: Iterable[str], to: Path) -> Path:
    """Copy packages into a folder, as they are installed here, and return it."""
    for name in _closure(names):
        for file in distribution(name).files or ():
            source = Path(str(file.locate()))
            if ".." in file.parts or source.suffix == ".pyc" or not source.is_file():
                continue
            target = to / str(file)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    return to


def _closure(names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue  # needed on another platform only
        found.add(name)
        waiting += [
            re.split(r"[^A-Za-z0-9._-]", need, maxsplit=1)[0] for need in needs if "extra ==" not in need
        ]
    return found
