"""Turn a uv.lock into requirements with hashes, as `uv export` would; pure.

The lock holds a graph: each package names those that it needs, under markers. A package is wanted under the
markers on the ways that lead to it; where one way has none, it is wanted always.

The lock is hostile: what goes into a line for pip is of the form that such a part has, every step is bounded.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import Any, Final

from agent_runner.errors import InvalidInputError

MOST_PACKAGES: Final = 20_000
MOST_WAYS: Final = 128
"""To one package; real locks have a handful."""
MOST_MARKERS: Final = 32
"""On one way."""
MOST_STEPS: Final = 100_000
"""From a package to one that it needs, over all ways; a thousand packages take some ten thousand."""
MOST_LOCK_CHARACTERS: Final = 8 * 1024 * 1024
MOST_DOTS: Final = 100
"""On one line of the lock: the time that a dotted key takes grows with the square of its parts."""
MOST_MARKER_CHARACTERS: Final = 4096
MOST_CHARACTERS: Final = 16 * 1024 * 1024
"""Of what is written for pip."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_VERSION: Final = re.compile(r"[0-9A-Za-z.!+_-]{1,200}")
_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")
_MARKER: Final = re.compile(r"[A-Za-z0-9_.'\"()<>=!~,*+/ -]*")
"""No line break, no `#`, which begins a comment, no `$`, which names a variable."""
_OPTION: Final = re.compile(r"(?:^| )-")
"""Where pip stops reading a marker."""
_HINT: Final = "`uv lock` makes it anew"
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
    steps: int = 0
    _needs: dict[Key, list[tuple[Key, str]]] = field(default_factory=dict)
    _by_name: dict[str, list[Key]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index the packages by name, once."""
        for key in self.packages:
            self._by_name.setdefault(key[0], []).append(key)

    def reach(self, start: Key, marker: str) -> None:
        """Take a way to a package, and go on from there wherever that is news."""
        stack: list[tuple[Key, Way]] = [(start, frozenset({marker} - {""}))]
        while stack:
            key, way = stack.pop()
            known = self.ways.setdefault(key, set())
            if any(shorter <= way for shorter in known):
                continue
            if len(known) >= MOST_WAYS or len(way) > MOST_MARKERS:
                raise InvalidInputError(f"uv.lock has more ways to `{key[0]}` than can be followed")
            known.difference_update({longer for longer in known if way <= longer})
            known.add(way)
            needed = self._needed_by(key)
            self.steps += len(needed)
            if self.steps > MOST_STEPS:
                raise InvalidInputError(f"uv.lock takes more than {MOST_STEPS} steps to follow")
            stack += [(other, way | {condition} if condition else way) for other, condition in needed]

    def _needed_by(self, key: Key) -> list[tuple[Key, str]]:
        """Return what a package needs, each under its marker; read once."""
        if key not in self._needs:
            entries = _needed(self.packages[key])
            self._needs[key] = list(dict.fromkeys((self.key_of(entry), _marker(entry)) for entry in entries))
        return self._needs[key]

    def key_of(self, needed: Table) -> Key:
        """Return the one package that is meant by a name, and by a version where one is given.

        Raises:
            InvalidInputError: When there is none, or more than one.
        """
        name = _part(needed, "name", _NAME)
        found = self._by_name.get(name, [])
        if "version" in needed:
            key = (name, _part(needed, "version", _VERSION))
            found = [key] if key in self.packages else []
        if len(found) != 1:
            raise InvalidInputError(f"uv.lock asks for `{name}` and holds it {len(found)} times", hint=_HINT)
        return found[0]


def requirements_of(text: str) -> str:
    """Return the lock's packages as lines for pip, each with its hashes.

    Development groups and optional dependencies of the project itself count as wanted: tests need them.

    Args:
        text: A uv.lock.

    Raises:
        InvalidInputError: When it is none, or holds a package that does not come from a registry.
    """
    packages = _packages(_parsed(text))
    walk = _Walk(packages)
    roots = [key for key, table in packages.items() if _is_own(table)]
    if not roots:
        raise InvalidInputError("uv.lock names no project of its own", hint=_HINT)
    for root in roots:
        walk.reach(root, "")
        for needed in _groups(packages[root], "dev-dependencies"):
            walk.reach(walk.key_of(needed), _marker(needed))
    lines: list[str] = []
    left = MOST_CHARACTERS
    for key, ways in sorted(walk.ways.items()):
        if _is_own(packages[key]):
            continue
        lines.append(f"{_line(key, packages[key], ways)}\n")
        left -= len(lines[-1])
        if left < 0:
            raise InvalidInputError(f"uv.lock makes more than {MOST_CHARACTERS} characters for pip")
    return "".join(lines)


def _parsed(text: str) -> Table:
    if len(text) > MOST_LOCK_CHARACTERS:
        raise InvalidInputError(f"uv.lock is longer than {MOST_LOCK_CHARACTERS} characters")
    if any(line.count(".") > MOST_DOTS for line in text.split("\n")):
        raise InvalidInputError(f"uv.lock has a line with more than {MOST_DOTS} dots", hint=_HINT)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"uv.lock is not TOML: {error}") from error
    except (ValueError, RecursionError) as error:  # a number too long for Python, brackets without end
        raise InvalidInputError("uv.lock holds a value that no lock has", hint=_HINT) from error


def _packages(lock: Table) -> dict[Key, Table]:
    tables = _tables(lock, "package")
    if len(tables) > MOST_PACKAGES:
        raise InvalidInputError(f"uv.lock has {len(tables)} packages, expected at most {MOST_PACKAGES}")
    return {
        (_part(table, "name", _NAME), _part(table, "version", _VERSION) if "version" in table else ""): table
        for table in tables
    }


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


def _part(table: Table, key: str, form: re.Pattern[str]) -> str:
    """Return one part of a line for pip.

    Raises:
        InvalidInputError: When it is not of its form; it is not repeated, for it may be anything.
    """
    value = table.get(key)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise InvalidInputError(f"uv.lock has a package whose {key} is none", hint=_HINT)
    return value


def _marker(needed: Table) -> str:
    value = needed.get("marker", "")
    if (
        not isinstance(value, str)
        or len(value) > MOST_MARKER_CHARACTERS
        or not _MARKER.fullmatch(value)
        or _OPTION.search(value)
    ):
        raise InvalidInputError("uv.lock has a marker that is none", hint=_HINT)
    return value


def _line(key: Key, table: Table, ways: set[Way]) -> str:
    name, version = key
    source = table.get("source", {})
    if not isinstance(source, dict) or "registry" not in source:
        raise InvalidInputError(
            f"uv.lock takes `{name}` from elsewhere than a registry", hint="a build reaches registries only"
        )
    if not version:
        raise InvalidInputError(f"uv.lock has no version for `{name}`", hint=_HINT)
    files = [*_tables(table, "wheels"), *([table["sdist"]] if isinstance(table.get("sdist"), dict) else [])]
    given = [file["hash"] for file in files if isinstance(file.get("hash"), str)]
    hashes = sorted({digest for digest in given if _HASH.fullmatch(digest)})
    if not hashes:
        raise InvalidInputError(f"uv.lock has no hash for `{name}`", hint=_HINT)
    parts = [f"{name}=={version}"]
    if frozenset() not in ways:
        all_of = sorted(" and ".join(f"({marker})" for marker in sorted(way)) for way in ways)
        parts.append("; " + " or ".join(all_of))
    return " ".join([*parts, *(f"--hash={digest}" for digest in hashes)])
