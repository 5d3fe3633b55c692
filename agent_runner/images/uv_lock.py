"""Turn a uv.lock into requirements with hashes, as `uv export` would; pure.

The lock holds a graph: each package names those that it needs, under markers. A package is wanted under the
markers on the ways that lead to it; where one way has none, it is wanted always.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import Any, Final

from agent_runner.errors import InvalidInputError

MOST_PACKAGES: Final = 20_000
MOST_WAYS: Final = 128
"""To one package; real locks have a handful."""
Table = dict[str, Any]
Key = tuple[str, str]
"""Name and version."""
Way = frozenset[str]
"""Markers that all have to hold; none is always."""


@dataclass(slots=True)
class _Walk:
    """What was reached so far, and on which ways: any of them will do."""

    packages: dict[Key, Table]
    ways: dict[Key, set[Way]] = field(default_factory=dict)

    def reach(self, start: Key, marker: str) -> None:
        """Take a way to a package, and go on from there wherever that is news."""
        stack: list[tuple[Key, Way]] = [(start, frozenset({marker} - {""}))]
        while stack:
            key, way = stack.pop()
            known = self.ways.setdefault(key, set())
            if any(shorter <= way for shorter in known):
                continue
            if len(known) >= MOST_WAYS:
                raise InvalidInputError(f"uv.lock has more ways to `{key[0]}` than can be followed")
            known.difference_update({longer for longer in known if way <= longer})
            known.add(way)
            stack += [
                (_key_of(needed, self.packages), way | ({str(needed.get("marker", ""))} - {""}))
                for needed in _needed(self.packages[key])
            ]


def requirements_of(text: str) -> str:
    """Return the lock's packages as lines for pip, each with its hashes.

    Development groups and optional dependencies of the project itself count as wanted: tests need them.

    Args:
        text: A uv.lock.

    Raises:
        InvalidInputError: When it is none, or holds a package that does not come from a registry.
    """
    try:
        lock = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"uv.lock is not TOML: {error}") from error
    packages = {
        (str(table.get("name")), str(table.get("version", ""))): table for table in _tables(lock, "package")
    }
    if len(packages) > MOST_PACKAGES:
        raise InvalidInputError(f"uv.lock has {len(packages)} packages, expected at most {MOST_PACKAGES}")
    walk = _Walk(packages)
    roots = [key for key, table in packages.items() if _is_own(table)]
    if not roots:
        raise InvalidInputError("uv.lock names no project of its own", hint="`uv lock` makes it anew")
    for root in roots:
        walk.reach(root, "")
        for needed in _groups(packages[root], "dev-dependencies"):
            walk.reach(_key_of(needed, packages), str(needed.get("marker", "")))
    found = sorted(walk.ways.items())
    lines = [_line(packages[key], ways) for key, ways in found if not _is_own(packages[key])]
    return "".join(f"{line}\n" for line in lines)


def _tables(table: Table, name: str) -> list[Table]:
    found = table.get(name, [])
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _groups(table: Table, name: str) -> list[Table]:
    groups = table.get(name, {})
    return [entry for group in groups for entry in _tables(groups, group)] if isinstance(groups, dict) else []


def _needed(table: Table) -> list[Table]:
    """Return what a package needs; uv writes down only those extras that somebody asked for."""
    return _tables(table, "dependencies") + _groups(table, "optional-dependencies")


def _is_own(table: Table) -> bool:
    source = table.get("source", {})
    return isinstance(source, dict) and bool({"virtual", "editable"} & source.keys())


def _key_of(needed: Table, packages: dict[Key, Table]) -> Key:
    name = str(needed.get("name"))
    version = needed.get("version")
    found = [key for key in packages if key[0] == name and version in (None, key[1])]
    if len(found) != 1:
        raise InvalidInputError(
            f"uv.lock asks for `{name}` and holds it {len(found)} times", hint="`uv lock` makes it anew"
        )
    return found[0]


def _line(table: Table, ways: set[Way]) -> str:
    name, version = str(table.get("name")), str(table.get("version", ""))
    source = table.get("source", {})
    if not isinstance(source, dict) or "registry" not in source:
        raise InvalidInputError(
            f"uv.lock takes `{name}` from elsewhere than a registry", hint="a build reaches registries only"
        )
    files = [*_tables(table, "wheels"), *([table["sdist"]] if isinstance(table.get("sdist"), dict) else [])]
    hashes = sorted({str(file["hash"]) for file in files if str(file.get("hash", "")).startswith("sha256:")})
    if not hashes:
        raise InvalidInputError(f"uv.lock has no hash for `{name}`", hint="`uv lock` makes it anew")
    parts = [f"{name}=={version}"]
    if frozenset() not in ways:
        all_of = sorted(" and ".join(f"({marker})" for marker in sorted(way)) for way in ways)
        parts.append("; " + " or ".join(all_of))
    return " ".join([*parts, *(f"--hash={digest}" for digest in hashes)])
