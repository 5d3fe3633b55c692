"""Read a file of declared commands: what may be written; what is wrong is told by line and column."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from policies.capability import Capability
from policies.document import Document, read_document
from policies.errors import PolicyFileError, Problem
from policies.faults import problems_of
from policies.leaves import DurationField, ImageField, SizeField, VersionField
from policies.units import Bytes, Seconds

if TYPE_CHECKING:
    from policies.request import SinkKind

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,30}( [a-z][a-z0-9-]{0,30})?")
_ARGUMENT: Final = re.compile(r"[a-z][a-z0-9]{0,30}")
_CONNECTOR: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
PROGRAM: Final = re.compile(r"(/[A-Za-z0-9_.+-]+)+|[A-Za-z0-9_.+][A-Za-z0-9_.+-]*")
LARGEST_INTEGER: Final = 2**53
MOST_PATTERNS: Final = 16
"""Of `keep`, and of `drop`: each is looked for in every line."""
Items = TypeVar("Items", bound=tuple[object, ...])


def _matching(expression: re.Pattern[str], what: str) -> AfterValidator:
    def check(text: str) -> str:
        if not expression.fullmatch(text):
            raise ValueError(f"`{text[:60]}` is not {what}")
        return text

    return AfterValidator(check)


def _one_line(text: str) -> str:
    if not text.strip() or "\n" in text:
        raise ValueError("expected one line of text")
    return str(text)


def _at_least_one(items: Items) -> Items:
    if not items:
        raise ValueError("expected at least one")
    return items


def _not_too_many(items: Items) -> Items:
    if len(items) > MOST_PATTERNS:
        raise ValueError(f"{len(items)} patterns; expected at most {MOST_PATTERNS}")
    return items


Line = Annotated[str, Field(max_length=300), AfterValidator(_one_line)]
ArgumentName = Annotated[str, _matching(_ARGUMENT, "an argument's name: small letters and digits")]
Integer = Annotated[int, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DeclaredArgument(_Closed):
    """One argument: its type, and the bounds that the type has."""

    type: Literal["path", "enum", "integer", "pattern", "host", "flag"]
    help: Line | None = None
    required: bool | None = None
    """Stands without `--name`, and has to be given; when left out, so it is where there is no default."""
    many: bool = False
    """Whether there may be several: each is a word of its own."""
    access: Literal["read", "write"] | None = None
    """Of a path: what the program does with it."""
    values: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()
    """Of an enum."""
    least: Integer | None = None
    most: Integer | None = None
    pattern: str | None = None
    """Of a pattern: what matches the whole value (RE2)."""
    literal: bool = False
    """Whether the program takes the value as it is: it expands no wildcard and reads no response file."""
    default: str | int | None = None
    """The value where none is given; within the type's bounds."""

    @property
    def is_required(self) -> bool:
        """Say whether it has to be given."""
        return self.type != "flag" and self.default is None and self.required is not False


class DeclaredInput(_Closed):
    """What comes beside the line, for the program's standard input."""

    help: Line | None = None
    required: bool = False


class DeclaredGroup(_Closed):
    """Words that are written only when an argument is given."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    given: str = Field(alias="with")
    words: tuple[str, ...]


class DeclaredOutput(_Closed):
    """What of a program's output is shown. Patterns are looked for in each line."""

    keep: Annotated[tuple[str, ...], AfterValidator(_not_too_many)] = ()
    """Only lines in which one of these is found; empty is every line."""
    drop: Annotated[tuple[str, ...], AfterValidator(_not_too_many)] = ()
    """No line in which one of these is found."""
    first_lines: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    last_lines: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    most_bytes: SizeField = Bytes(8 * 2**20)
    errors: bool = True
    """Whether standard error is shown."""


class DeclaredExample(_Closed):
    """One line, and what has to come of it."""

    line: Annotated[str, Field(min_length=1, max_length=2000)]
    argv: tuple[str, ...] | None = None
    """What the program is started with, itself included."""
    refused: bool = False
    """Whether the line has to be refused; nothing runs then."""
    files: dict[str, str] = {}
    """Path -> text: the workspace that it runs in."""
    stdin: str | None = None
    runs: bool = True
    """Whether `tools check` carries it out, or only compares its argv."""
    exit_code: Annotated[int, Field(ge=0, le=255)] = 0
    output: str | None = None
    """What has to be shown, whole but for the line end; None compares nothing."""


class DeclaredCommand(_Closed):
    """One command."""

    name: Annotated[str, _matching(_NAME, "a command's name: one word or two, as `pdf text`")]
    summary: Line
    program: Annotated[str, _matching(PROGRAM, "a program: a name, or an absolute path in the image")]
    connector: Annotated[str, _matching(_CONNECTOR, "a connector's name")] | None = None
    """The container of the operator's configuration that it runs in; the session's when left out."""
    image: ImageField | None = None
    """The image that `tools check` runs the examples in; a session's is its policy's."""
    needs: tuple[Literal["files", "network", "exec"], ...]
    sinks: dict[str, Literal["address", "channel", "url", "host", "account", "text"]]
    arguments: dict[ArgumentName, DeclaredArgument] = {}
    stdin: DeclaredInput | None = None
    argv: tuple[str | DeclaredGroup, ...]
    seconds: DurationField = Seconds(60)
    output: DeclaredOutput = DeclaredOutput()
    examples: Annotated[tuple[DeclaredExample, ...], AfterValidator(_at_least_one)]

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Return what it needs."""
        return frozenset(Capability(name) for name in self.needs)

    @property
    def compared(self) -> dict[str, SinkKind]:
        """Return its sinks and how their values are compared."""
        return dict(self.sinks)


class Declarations(_Closed):
    """A file."""

    version: VersionField
    commands: Annotated[tuple[DeclaredCommand, ...], AfterValidator(_at_least_one)]


def read_declarations(text: str, *, origin: str) -> tuple[Declarations, Document]:
    """Read a file's text.

    Raises:
        PolicyFileError: When it is not valid, with every problem that was found.
    """
    document = read_document(text, origin=origin)
    if not isinstance(document.value, dict):
        problem = Problem(document.at(()), "the file holds no commands; expected `version: 1` and `commands`")
        raise PolicyFileError([problem])
    try:
        found = Declarations.model_validate(document.value)
    except ValidationError as error:
        raise PolicyFileError(problems_of(error, document, Declarations)) from None
    return found, document
