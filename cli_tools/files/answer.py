"""Read what the guest answers: JSON that may say anything, until it has been looked at."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

from cli_tools.command import FileTouched
from cli_tools.errors import ActionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sandbox.guest.objects import Object

LARGEST_NUMBER: Final = 2**53


def named(path: str, *, name: str = "path") -> Object:
    """Return a path as an argument of an operation: as text, or as base64 where it is not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raw = path.encode("utf-8", "surrogateescape")
        return {f"{name}_base64": base64.b64encode(raw).decode()}
    return {name: path}


def entries(body: bytes) -> Iterator[Mapping[str, object]]:
    """Give each JSON object of a body with one on each line.

    Raises:
        ActionError: When a line is none.
    """
    for line in body.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _wrong("a line that is not JSON") from error
        if not isinstance(entry, dict):
            raise _wrong("a line that is no object")
        yield entry


def number(values: Mapping[str, object], name: str) -> int:
    """Return a count."""
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_NUMBER:
        raise _wrong(f"`{name}` that is no number")
    return value


def numbers(values: Mapping[str, object], name: str) -> tuple[int, ...]:
    """Return a list of counts."""
    value = values.get(name)
    if not isinstance(value, list):
        raise _wrong(f"`{name}` that is no list")
    return tuple(number({name: member}, name) for member in value)


def text(values: Mapping[str, object], name: str) -> str:
    """Return a text; an absent one is empty."""
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong(f"`{name}` that is no text")
    return value or ""


def raw(values: Mapping[str, object], name: str) -> bytes:
    """Return the bytes behind a text, or behind its twin in base64."""
    encoded = values.get(f"{name}_base64")
    if encoded is None:
        return text(values, name).encode("utf-8", "replace")
    try:
        return base64.b64decode(str(encoded), validate=True)
    except ValueError as error:
        raise _wrong(f"`{name}_base64` that is no base64") from error


def written(path: str, result: Mapping[str, object]) -> FileTouched:
    """Return what a write did to a file."""
    return FileTouched(
        path=path,
        access="write",
        sha256_before=text(result, "sha256_before"),
        sha256_after=text(result, "sha256_after"),
    )


def _wrong(what: str) -> ActionError:
    return ActionError("protocol", f"the guest answered with {what}")
