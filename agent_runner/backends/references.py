"""Find what a JSON Schema refers to elsewhere: a server that compiles it may fetch that. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WITHIN: Final = re.compile(r"#.*", re.DOTALL)
"""A reference that begins so stays within the schema (JSON Schema 2020-12, clause 8.2.3)."""
_ANCHOR: Final = re.compile(r"[A-Za-z_][-A-Za-z0-9._:]*")
_DIALECT: Final = re.compile(r"https?://json-schema\.org/(schema|draft(-0[3-7]|/20(19-09|20-12))/schema)#?")
"""The published dialects, which every validator brings with it; another is fetched to learn the keywords."""
_PLACE: Final = re.compile(r"[\s/\\]|(https?|file|ftp):|.*://", re.DOTALL | re.IGNORECASE)

_IS_HERE: Final[Mapping[str, Callable[[str], object]]] = {
    "$ref": _WITHIN.fullmatch,
    "$dynamicRef": _WITHIN.fullmatch,
    "$recursiveRef": _WITHIN.fullmatch,
    "$id": _WITHIN.fullmatch,
    "$anchor": _ANCHOR.fullmatch,
    "$dynamicAnchor": _ANCHOR.fullmatch,
    "$schema": _DIALECT.fullmatch,
    # Of draft 4. A property that is called so has a schema, and no text.
    "id": lambda name: _PLACE.match(name) is None,
}
"""The keywords whose text is a reference, or what references are resolved against."""


def refers_elsewhere(schema: object) -> bool:
    """Say whether a schema refers to another document, or says that it is one, wherever in it that stands."""
    return any(not _IS_HERE[keyword](target) for keyword, target in _targets(schema))


def _targets(schema: object) -> Iterator[tuple[str, str]]:
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            found = ((name, value[name]) for name in _IS_HERE.keys() & value.keys())
            yield from ((name, target) for name, target in found if isinstance(target, str))
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
