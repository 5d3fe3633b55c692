"""Read what a server said: JSON that may say anything, until it has been looked at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cli_tools.errors import ActionError
from cli_tools.neutral import field, neutralise

if TYPE_CHECKING:
    from collections.abc import Mapping

Object = dict[str, object]
LONGEST_FIELD: Final = 400
_EMPTY: Final[Object] = {}


def parsed(body: bytes, *, by: str) -> Object:
    """Return the JSON object that an answer is.

    Args:
        body: The answer's body.
        by: Who answered, for the message.

    Raises:
        ActionError: When it is none.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ActionError("upstream", f"{by} answered with what is not JSON") from error
    if not isinstance(value, dict):
        raise ActionError("upstream", f"{by} answered with JSON that is no object")
    return value


def text(value: object, *names: str) -> str:
    """Return the text below these names; empty where there is none, or something else."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def count(value: Mapping[str, object], name: str) -> int:
    """Return a count; 0 where there is none."""
    found = value.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0


def member(value: object, *names: str) -> Object:
    """Return the object below these names; empty where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else _EMPTY


def members(value: object, *names: str) -> list[Object]:
    """Return the objects of the list below these names; none where there is no list."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def shown(value: str, *, longest: int = LONGEST_FIELD) -> str:
    """Return one field of a line, bounded and neutralised."""
    return field(value if len(value) <= longest else f"{value[:longest]}…")


def indented(value: str, *, by: str = "    ") -> str:
    """Return text that may have several lines, neutralised and set in."""
    lines = value.replace("\r\n", "\n").strip("\n").split("\n")
    return "\n".join(f"{by}{neutralise(line)}".rstrip() for line in lines)
