"""The kinds of field that entries are made of, and the ground that every event type stands on."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from audit.hostile import LARGEST_INTEGER

MARKED_SCHEMA = {
    "type": "object",
    "required": ["!"],
    "properties": {"!": {"enum": ["text", "bytes", "integer", "number", "pairs", "deep", "large", "other"]}},
}


def _text(value: object) -> str:
    if isinstance(value, str):  # which is likely, and asked some fifteen times a turn
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    raise ValueError(f"expected text, found {type(value).__name__}")


def _mapping(value: object) -> Mapping[str, object]:
    if isinstance(value, dict | Mapping):
        return value
    raise ValueError(f"expected a mapping, found {type(value).__name__}")


Text = Annotated[
    str,
    PlainValidator(_text),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Marked"}]}),
]
"""Text from anywhere: lone surrogates are carried as a marked value, other bytes as surrogates."""

Values = Annotated[
    Mapping[str, object],
    PlainValidator(_mapping),
    WithJsonSchema({"type": "object"}),
]
"""Named values from anywhere; whatever JSON cannot carry is marked."""

Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
"""A number of things, of bytes or of milliseconds, as the field's name says; zero is zero, never unknown."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in lowercase hexadecimal."""


class Part(BaseModel):
    """A frozen group of fields, strictly typed, with nothing in it that it does not declare."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Event(Part):
    """One fact to remember; `kind` and `version` name its schema for ever."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1


class Commitment(Part):
    """Stands for a body kept elsewhere, which may be withheld later without harm to the proof."""

    digest: Digest
    """SHA-256(salt || value), the salt being 32 random bytes."""
    size: Count
    """Length of the value in bytes."""


class Rule(Part):
    """Where the rule stands that made a decision."""

    origin: Text
    """The policy file, or the name of a built-in policy."""
    line: Count
    """Counted from 1; 0 where there is none."""
    column: Count
    """Counted from 1; 0 where there is none."""


class Reason(Part):
    """Why a decision came out as it did."""

    code: str
    """A word that programs may compare, for example `capability`."""
    message: Text
    """For a person."""
    hint: Text = ""
    """What would mend it; empty where nothing would."""
    rule: Rule | None = None
    """The rule, when one made the decision."""


class Evidence(Part):
    """One thing that was looked at before the agent's first action."""

    check: str
    """What was looked at, for example `seccomp mode`."""
    expected: Text
    """What the grant demands."""
    observed: Text
    """What was found."""
    source: str
    """Who says so: `inspect`, `host` or `guest`."""


class FileUse(Part):
    """A file that a command read or changed."""

    path: Text
    """Relative to the workspace or the scratch folder."""
    access: str
    """`read`, `created`, `changed`, `removed`, `moved`, `listed` or `searched`."""
    sha256: Digest | None = None
    """Of the content read or left behind; None when there is none."""
    sha256_before: Digest | None = None
    """Of the content that was there before a change."""
    size: Count | None = None
    """Bytes of the content read or left behind."""
    moved_to: Text | None = None
    """The new path, when it was moved."""


class ToolCall(Part):
    """A call that a model asked for, as the model wrote it."""

    call: Text
    """The backend's id of the call."""
    name: Text
    """The tool's name."""
    arguments: Text
    """The arguments, as the model spelled them."""


class Totals(Part):
    """The account of a session. Times are of the wall clock and do not overlap."""

    turns: Count = 0
    """Answers of the model."""
    actions: Count = 0
    """Actions that were decided."""
    denials: Count = 0
    """Actions that were denied."""
    model_ms: Count = 0
    """Milliseconds spent waiting for the model."""
    sandbox_ms: Count = 0
    """Milliseconds spent in the sandbox, its start included."""
    ledger_ms: Count = 0
    """Milliseconds spent waiting for the ledger to be durable."""
    waiting_ms: Count = 0
    """Milliseconds spent waiting for a person."""
    input_tokens: Count = 0
    """Tokens sent, cached ones included."""
    output_tokens: Count = 0
    """Tokens received."""
    cached_tokens: Count = 0
    """Tokens sent that the server had cached, by its own count."""
    cost_micros: Count = 0
    """Millionths of a US dollar, by the operator's price list; 0 where there is none."""
    sent_bytes: Count = 0
    """Bytes that left through the egress gate."""
    received_bytes: Count = 0
    """Bytes that came in through the egress gate."""
