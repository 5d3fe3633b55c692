"""List the files of installed Python packages and of what they need; nothing is copied here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_OF_THIS_MACHINE = frozenset({"direct_url.json", "INSTALLER", "RECORD", "REQUESTED", "uv_cache.json"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One installed distribution."""

    name: str
    """As its metadata has it."""
    version: str
    """As its metadata has it."""
    files: tuple[tuple[str, Path], ...]
    """Path below `site-packages`, and where the file is on this machine; no scripts, nothing compiled."""
    marker: Path
    """A file of its metadata that changes with every installation."""


def installed(*names: str) -> tuple[Installed, ...]:
    """Return the named distributions and all that they need here, in the order of discovery.

    A requirement that is not installed is passed over: its environment marker was not for this machine.

    Args:
        names: Distributions of the environment that pairlock runs in; one that is not there is passed over.
    """
    found: dict[str, Installed] = {}
    waiting = list(names)
    while waiting:
        name = _normal(waiting.pop(0))
        if name in found:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found[name] = _read(distribution)
        waiting += [need for need in map(_needed, distribution.requires or ()) if need]
    return tuple(found.values())


def _read(distribution: metadata.Distribution) -> Installed:
    files: list[tuple[str, Path]] = []
    for entry in distribution.files or ():
        path = Path(str(distribution.locate_file(entry)))
        outside = ".." in entry.parts or entry.is_absolute()
        if outside or entry.suffix == ".pyc" or entry.name in _OF_THIS_MACHINE or not path.is_file():
            continue
        files.append((str(entry), path))
    marker = next((path for name, path in files if name.endswith(".dist-info/METADATA")), Path())
    return Installed(
        name=distribution.metadata["Name"],
        version=distribution.version,
        files=tuple(sorted(files)),
        marker=marker,
    )


def _needed(requirement: str) -> str:
    """Return the name in a requirement; empty for one that only an extra asks for."""
    specification, _, marker = requirement.partition(";")
    match = _NAME.match(specification.strip())
    return match.group() if match and "extra" not in marker else ""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
