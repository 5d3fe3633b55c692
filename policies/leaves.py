"""The single values of a policy file, for pydantic: each is read by its own room, and keeps its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Final, Literal, TypeVar, get_args

from pydantic import AfterValidator, PlainValidator, WithJsonSchema

from policies.capability import Capability
from policies.commands import CommandPattern, ValuePattern
from policies.document import Located
from policies.errors import BadValueError, RuleAt
from policies.globs import Glob
from policies.grant import Grant
from policies.hosts import HostPattern
from policies.units import Bytes, Count, Seconds, parse_count, parse_duration, parse_size
from policies.urls import UrlPath
from policies.wording import nearest, quoted

Leaf = TypeVar("Leaf")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:-]{0,254}(@sha256:[0-9a-f]{64})?")
_PROGRAM = re.compile(r"[A-Za-z0-9_./+-][A-Za-z0-9_./+ -]{0,254}")
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def is_name(text: str) -> bool:
    """Tell whether a text can be a policy's name.

    Args:
        text: Any text.

    Returns:
        True for small letters, digits, `-` and `_`, at most 64.
    """
    return _NAME.fullmatch(text) is not None


def is_program(text: str) -> bool:
    """Tell whether a text can be argv[0] of a program.

    Args:
        text: Any text.

    Returns:
        True when `exec.programs` may name it.
    """
    return _PROGRAM.fullmatch(text) is not None


def place_of(value: object) -> RuleAt | None:
    """Find where a value was written.

    Args:
        value: A value from a document.

    Returns:
        Its place, if it is a text that knows it.
    """
    return value.at if isinstance(value, Located) else None


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise BadValueError(f"{quoted(value)} is not {what}", hint="quote it if it is meant as text")
    return value


def _reader(kind: type[Leaf], what: str) -> PlainValidator:
    parse: Callable[..., Leaf] = kind.parse  # type: ignore[attr-defined]  # each leaf has one; they share no base

    def read(value: object) -> Leaf:
        if isinstance(value, kind):
            return value
        return parse(str(_text(value, what)), at=place_of(value))

    return PlainValidator(read)


def _schema(description: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": description, **more})


GlobField = Annotated[Glob, _reader(Glob, "a glob"), _schema("a glob over workspace paths")]
HostField = Annotated[HostPattern, _reader(HostPattern, "a host"), _schema("a host, or `*.` and a name")]
UrlPathField = Annotated[UrlPath, _reader(UrlPath, "a path"), _schema("a path pattern of URLs", pattern="^/")]
CommandField = Annotated[
    CommandPattern, _reader(CommandPattern, "a command"), _schema("a command, or a group and `*`")
]
ValueField = Annotated[
    ValuePattern, _reader(ValuePattern, "a text"), _schema("a whole value; `*` is any run of characters")
]
SizeField = Annotated[
    Bytes, PlainValidator(parse_size), _schema("a size, as in `64MiB`", pattern="^[0-9]+[kKMGT]?i?B$")
]
DurationField = Annotated[
    Seconds, PlainValidator(parse_duration), _schema("a duration, as in `30m`", pattern="^[0-9]+[smhd]$")
]
CountField = Annotated[
    Count,
    PlainValidator(parse_count),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+[kMG]$"}],
            "description": "a count, as in `2000` or `400k`",
        }
    ),
]
Values = tuple[ValueField, ...]
ArgumentValues = Annotated[
    Mapping[str, Values], AfterValidator(lambda values: MappingProxyType(dict(values)))
]


def _matching(expression: re.Pattern[str], what: str, hint: str) -> PlainValidator:
    def read(value: object) -> str:
        text = str(_text(value, what))
        if not expression.fullmatch(text):
            raise BadValueError(f"{quoted(value)} is not {what}", hint=hint)
        return text

    return PlainValidator(read)


NameField = Annotated[
    str,
    _matching(_NAME, "a name", "small letters, digits, `-` and `_`, at most 64"),
    _schema("a name", pattern="^[a-z0-9][a-z0-9_-]{0,63}$"),
]
ImageField = Annotated[
    str,
    _matching(_IMAGE, "the reference of an image", "as in `pairlock/starter`, or `name@sha256:…`"),
    _schema("an image of the engine, best by digest"),
]


def _choice(*allowed: str, also: Mapping[str, str]) -> PlainValidator:
    def read(value: object) -> str:
        if isinstance(value, str) and also.get(value, value) in allowed:
            return str(also.get(value, value))
        near = nearest(value, allowed) if isinstance(value, str) else None
        mend = f"did you mean `{near}`?" if near else f"write one of them, as in `{allowed[0]}`"
        raise BadValueError(f"{quoted(value)} is none of `{'`, `'.join(allowed)}`", hint=mend)

    return PlainValidator(read)


def choice(
    description: str, *allowed: str, also: Mapping[str, str] = MappingProxyType({})
) -> tuple[PlainValidator, WithJsonSchema]:
    """Make the reader of a closed set of words.

    Args:
        description: What the word says.
        *allowed: The words.
        also: Other names that are read as one of them.

    Returns:
        What pydantic needs beside the type.
    """
    return _choice(*allowed, also=also), WithJsonSchema(
        {"type": "string", "enum": [*allowed, *also], "description": description}
    )


RuntimeName = Literal["default", "runc", "gvisor"]
RuntimeField = Annotated[
    RuntimeName, *choice("the engine's runtime", *get_args(RuntimeName), also={"runsc": "gvisor"})
]


MethodField = Annotated[str, *choice("a method of HTTP", *METHODS)]


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs that `run` may name: a list, or any, which has to be written out.

    Attributes:
        names: Whole values of argv[0]; empty means none, unless any.
        any_program: Whether every program is meant.
        at: Where it was written; does not count when two are compared.
    """

    names: tuple[str, ...] = ()
    any_program: bool = False
    at: RuleAt | None = field(default=None, compare=False)

    def allows(self, program: str) -> bool:
        """Tell whether a program may be named.

        Args:
            program: argv[0], whole.

        Returns:
            True when it is listed, or any is meant.
        """
        return self.any_program or program in self.names

    def meet(self, other: Programs) -> Programs:
        """Keep the programs that both allow.

        Args:
            other: The other list.

        Returns:
            The intersection.
        """
        if self.any_program:
            return other
        if other.any_program:
            return self
        return Programs(names=tuple(name for name in self.names if name in other.names), at=self.at)


def _programs(value: object) -> Programs:
    if isinstance(value, Programs):
        return value
    if isinstance(value, str) and value == "any":
        return Programs(any_program=True, at=place_of(value))
    if not isinstance(value, tuple | list) or not all(isinstance(name, str) for name in value):
        raise BadValueError(
            f"{quoted(value)} is no list of programs", hint="as in `[pytest, ruff]`, or `any`"
        )
    for name in value:
        if not _PROGRAM.fullmatch(name):
            hint = "argv[0], whole, as in `pytest`; no patterns"
            raise BadValueError(f"{quoted(name)} is not a program", hint=hint, at=place_of(name))
    at = next((place_of(name) for name in value), None)
    return Programs(names=tuple(dict.fromkeys(str(name) for name in value)), at=at)


ProgramsField = Annotated[
    Programs,
    PlainValidator(_programs),
    WithJsonSchema(
        {
            "anyOf": [{"const": "any"}, {"type": "array", "items": {"type": "string"}}],
            "description": "what argv[0] of `run` may be; `any` must be written out",
        }
    ),
]


def _grant(value: object) -> Grant:
    if isinstance(value, Grant):
        return value
    if not isinstance(value, tuple | list):
        raise BadValueError(f"{quoted(value)} is no list of capabilities", hint="as in `[files, exec]`")
    known = {capability.value: capability for capability in Capability}
    for name in value:
        if not isinstance(name, str) or name not in known:
            near = nearest(str(name), known)
            mend = f"did you mean `{near}`?" if near else "the capabilities are `files`, `network`, `exec`"
            if isinstance(name, str) and set(re.split(r"[ ,+]+", name)) <= known.keys():
                mend = "one in each place, as in `[files, exec]`"
            raise BadValueError(f"{quoted(name)} is not a capability", hint=mend, at=place_of(name))
    return Grant.of(known[name] for name in value)


GrantField = Annotated[
    Grant,
    PlainValidator(_grant),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "enum": [capability.value for capability in Capability]},
            "maxItems": 2,
            "uniqueItems": True,
            "description": "at most two of the three capabilities",
        }
    ),
]


def _processors(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValueError(f"{quoted(value)} is not a number", hint="as in `2` or `0.5`")
    return float(value)


NumberField = Annotated[
    float,
    PlainValidator(_processors),
    WithJsonSchema({"type": "number", "description": "a number, as in `2` or `0.5`"}),
]


def _version(value: object) -> int:
    if type(value) is not int or value != 1:
        raise BadValueError(f"version {quoted(value)} is not known", hint="write `version: 1`")
    return value


VersionField = Annotated[
    int, PlainValidator(_version), WithJsonSchema({"const": 1, "description": "the format: 1"})
]
