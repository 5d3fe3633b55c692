"""From an entry's type and version to its schema: reading a body back, and the JSON Schema of a line."""

from functools import cache
from typing import Literal

import orjson
from pydantic import TypeAdapter, ValidationError

from audit.chain import Entry, require_plain
from audit.errors import BadEventError, MalformedLineError
from audit.escape import escape_line
from audit.event import SESSION_EVENTS
from audit.fields import MARKED_SCHEMA, Commitment, Event
from audit.host_event import HOST_EVENTS
from audit.hostile import unmark

OVERFLOW = "overflow"
"""The only key of a body that was too long for its line: it holds the commitment to the whole body."""
LARGEST_BODY = 64 * 1024 * 1024
"""Bytes of a body that was moved out of its line, as far as it is read: decoded, it takes many times that."""


@cache
def registry() -> dict[tuple[str, int], type[Event]]:
    """Return every known type, by kind and version."""
    return {(event.kind, event.version): event for event in (*SESSION_EVENTS, *HOST_EVENTS)}


def event_of(entry: Entry, *, body: object | None = None) -> Event:
    """Return the event that an entry holds, with marked values turned back.

    Args:
        entry: A line, read.
        body: The whole body, where the line holds only a commitment to it.

    Raises:
        BadEventError: When the type is unknown, its body does not fit, or it lies elsewhere.
    """
    kind = registry().get((entry.type, entry.version))
    if kind is None:
        name = f"{escape_line(entry.type, width=40)}` version `{entry.version}"
        raise BadEventError(
            f"entry {entry.seq} has the unknown type `{name}`",
            hint="it may have been written by a newer pairlock",
        )
    fields = entry.body if body is None else body
    if isinstance(fields, dict) and set(fields) == {OVERFLOW}:
        raise BadEventError(f"the body of entry {entry.seq} is kept elsewhere, and was not given")
    try:
        return kind.model_validate(unmark(fields))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadEventError(f"entry {entry.seq}, `{entry.type}`: {place}: {first['msg'].lower()}") from error


def commitment_of(entry: Entry) -> Commitment:
    """Return the commitment to a body that was moved out.

    Raises:
        BadEventError: When the entry holds none in its place, or the body is longer than any writer's.
    """
    try:
        commitment = Commitment.model_validate(entry.body[OVERFLOW])
    except ValidationError as error:
        raise BadEventError(f"entry {entry.seq} holds no commitment to its body") from error
    if commitment.size > LARGEST_BODY:
        raise BadEventError(
            f"the body of entry {entry.seq} has {commitment.size} bytes, more than {LARGEST_BODY}"
        )
    return commitment


def moved_body(entry: Entry, value: bytes) -> dict[str, object]:
    """Return the fields of a body that was moved out, read as strictly as a line.

    Args:
        entry: Whose body it is.
        value: What stands behind its commitment.

    Raises:
        BadEventError: When that is not what a writer writes.
    """
    try:
        fields = orjson.loads(value)
        same = orjson.dumps(fields, option=orjson.OPT_STRICT_INTEGER) == value
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        same = False
    if not same or not isinstance(fields, dict):
        raise BadEventError(f"the body of entry {entry.seq} is not spelled as a writer spells it")
    try:
        require_plain(fields)
    except MalformedLineError as error:
        raise BadEventError(f"the body of entry {entry.seq}: {error}") from error
    return fields


def line_schema() -> dict[str, object]:
    """Return the JSON Schema (2020-12) of a line of a session's or the host's log."""
    kinds = list(registry().values())
    mode: Literal["validation"] = "validation"
    inputs = [(kind, mode, TypeAdapter(kind)) for kind in kinds]
    references, definitions = TypeAdapter.json_schemas(inputs)
    shared = dict(definitions.get("$defs", {}))
    shared["Marked"] = MARKED_SCHEMA
    lines = [_line_of(kind, references[(kind, mode)]) for kind in kinds]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of a pairlock ledger, format 1",
        "type": "object",
        "oneOf": lines,
        "$defs": shared,
    }


def _line_of(kind: type[Event], body: object) -> dict[str, object]:
    digest = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    overflow = {
        "type": "object",
        "additionalProperties": False,
        "required": [OVERFLOW],
        "properties": {OVERFLOW: {"$ref": "#/$defs/Commitment"}},
    }
    fields: dict[str, object] = {
        "seq": {"type": "integer", "minimum": 0},
        "prev": digest,
        "at": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"},
        "mono": {"type": "integer", "minimum": 0},
        "type": {"const": kind.kind},
        "v": {"const": kind.version},
        "body": {"anyOf": [body, overflow]},
    }
    return {"properties": fields, "required": list(fields), "additionalProperties": False}
