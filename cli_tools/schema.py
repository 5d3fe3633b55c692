"""Write a command as the tool schema that a model is given, in stable order and text: a cached prefix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from cli_tools.action import tool_name
from cli_tools.command import Body, Command, WithSchema, WorkspacePath

if TYPE_CHECKING:
    from collections.abc import Iterable

Schema = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool as a model sees it."""

    name: str
    description: str
    parameters: Schema
    """A JSON Schema of type object that allows no further members."""


def tools(commands: Iterable[Command]) -> tuple[Tool, ...]:
    """Return the tools for these commands, ordered by name."""
    return tuple(sorted((_tool(command) for command in commands), key=lambda tool: tool.name))


def _tool(command: Command) -> Tool:
    properties = {str(parameter.name): _property(parameter) for parameter in command.parameters}
    required = [str(p.name) for p in command.parameters if p.required or _needed(p)]
    return Tool(
        name=tool_name(command),
        description=command.summary,
        parameters={
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        },
    )


def _needed(parameter: click.Parameter) -> bool:
    """Say whether a body is the point of its command, as the content of `files write` is."""
    return isinstance(parameter.type, Body) and parameter.type.needed


_NUMBERS: Final = ((click.types.IntParamType, "integer"), (click.types.FloatParamType, "number"))


def _property(parameter: click.Parameter) -> Schema:
    schema, default = _type(parameter), default_of(parameter)
    said = parameter.help if isinstance(parameter, click.Option) else None
    if isinstance(parameter.type, WorkspacePath):
        said = said or "A path relative to the workspace."
    if default is not None:  # not as JSON Schema's `default`, which not every server takes
        said = f"{said or ''} `{default}` when left out.".lstrip()
    return {**schema, "description": said} if said else schema


def default_of(parameter: click.Parameter) -> str | int | None:
    """Return what is meant where a parameter is left out; None where that is nothing that can be written."""
    found = parameter.default
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        return None
    return found


def _type(parameter: click.Parameter) -> Schema:
    kind = parameter.type
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return {"type": "boolean"}
    if parameter.nargs == -1 or parameter.multiple:
        return {"type": "array", "items": {"type": "string"}, "minItems": 1 if parameter.required else 0}
    if isinstance(kind, click.Choice):
        return {"type": "string", "enum": list(kind.choices)}
    if isinstance(kind, click.IntRange):
        bounds = {"minimum": kind.min, "maximum": kind.max}
        return {"type": "integer", **{name: bound for name, bound in bounds.items() if bound is not None}}
    if isinstance(kind, WithSchema):
        return dict(kind.schema)
    return {"type": next((name for number, name in _NUMBERS if isinstance(kind, number)), "string")}
