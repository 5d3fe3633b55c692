"""Find what a JSON Schema refers to elsewhere: a server that compiles it may fetch that. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_REFERENCES: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_MARK: Final = "#"
"""A reference that begins so stays within the schema (JSON Schema 2020-12, clause 8.2.3)."""


def refers_elsewhere(schema: object) -> bool:
    """Say whether a schema refers to another document, wherever in it that stands."""
    return any(not target.startswith(_MARK) for target in _targets(schema))


def _targets(schema: object) -> Iterator[str]:
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            yield from (value[name] for name in _REFERENCES & value.keys() if isinstance(value[name], str))
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
