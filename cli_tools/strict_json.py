"""Read JSON that somebody else wrote, strictly: what two readers could take in two ways is none."""

from __future__ import annotations

import json
from typing import NoReturn


def read_json(text: str) -> object:
    """Return what a text of JSON holds.

    Raises:
        ValueError: When it is none, an object names a member twice, or a number is NaN or infinite (RFC 8259,
            clauses 4 and 6).
        RecursionError: When it is nested too deeply for the interpreter.
    """
    value: object = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name stands twice")
    return made


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"`{name}` is not JSON")
