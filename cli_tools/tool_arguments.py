"""Read the arguments of a tool call: JSON, from a model, as the words of a command line and a body."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

from cli_tools.command import MAXIMUM_BODY_BYTES
from cli_tools.errors import UsageError
from cli_tools.said import shown
from cli_tools.strict_json import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli_tools.command import Command


def words_of(command: Command, arguments: str) -> tuple[tuple[str, ...], bytes | None]:
    """Write a tool call's arguments as the words that mean the same, so that one parser reads both.

    Args:
        command: The command that the tool is.
        arguments: JSON text, from a model.

    Raises:
        UsageError: When they are none of the command's.
    """
    given = _json_object(command, arguments)
    known = {str(parameter.name): parameter for parameter in command.parameters}
    if extra := sorted(given.keys() - known.keys()):
        close = get_close_matches(extra[0], known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(known) or 'none'}"
        raise UsageError("usage", f"`{command.name}` has no argument `{extra[0][:80]}`", hint=hint)
    options: list[str] = []
    positional: list[str] = []
    left_out = several = ""
    for name, parameter in known.items():
        is_option = isinstance(parameter, click.Option)
        if name not in given or given[name] is None or name == command.body_parameter:
            if several and not is_option:  # the last of its values would go where this one is not
                raise UsageError("usage", f"`{command.name}` needs `{name}` where `{several}` is given")
            left_out = left_out or ("" if is_option else name)
            continue
        if isinstance(parameter, click.Option):
            options += _option_words(command, parameter, given[name])
            continue
        if left_out:  # INVARIANT: a value never moves to the place of another argument
            raise UsageError("usage", f"`{command.name}` needs `{left_out}` where `{name}` is given")
        several = name if parameter.nargs == -1 else several
        positional += _values(command, name, given[name], many=parameter.nargs == -1)
    body = given.get(command.body_parameter) if command.body_parameter else None
    if body is not None and not isinstance(body, str):
        raise UsageError("usage", f"`{command.name}`: `{command.body_parameter}` must be text")
    return (*options, *(["--", *positional] if positional else [])), _encoded(command, body)


def _encoded(command: Command, body: str | None) -> bytes | None:
    try:
        return None if body is None else body.encode()
    except UnicodeEncodeError as error:
        wrong = f"`{command.name}`: `{command.body_parameter}` holds a lone surrogate, expected text"
        raise UsageError("usage", wrong) from error


def _json_object(command: Command, arguments: str) -> Mapping[str, object]:
    if len(arguments) > MAXIMUM_BODY_BYTES:
        raise UsageError("too-long", f"arguments of {len(arguments)} characters")
    try:
        given = read_json(arguments or "{}")
    except ValueError as error:
        raise UsageError("usage", f"the arguments of `{command.name}` are not JSON: {error}") from error
    if not isinstance(given, dict):
        said = f" and are the text `{shown(given)}`" if isinstance(given, str) else ""
        raise UsageError("usage", f"the arguments of `{command.name}` must be a JSON object{said}")
    return given


def _option_words(command: Command, option: click.Option, value: object) -> list[str]:
    flag = option.opts[0]
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError("usage", f"`{command.name}`: `{option.name}` must be true or false")
        return [flag] if value else []
    values = _values(command, str(option.name), value, many=option.multiple)
    return [f"{flag}={text}" for text in values]


def _values(command: Command, name: str, value: object, *, many: bool) -> list[str]:
    values = value if many and isinstance(value, list) else [value]
    texts: list[str] = []
    for member in values:
        if isinstance(member, bool) or not isinstance(member, str | int | float):
            raise UsageError(
                "usage", f"`{command.name}`: `{name}` must be text{' or a list' if many else ''}"
            )
        texts.append(str(member))
    return texts
