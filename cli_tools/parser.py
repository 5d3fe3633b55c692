"""Read the words of a command: plain ones at once, the rest with click, which alone says what is wrong."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Parser(click.Command):
    """A command with the parameters that were declared and no others: click asks for them at each line.

    Where words are plain a type's `convert` is given no context, so none may look at it.

    Args:
        name: The command's words.
        parameters: As they were declared.
        summary: For the help text.
        takes_options_last: Whether options may stand behind other words; else all that follows is a value.
    """

    def __init__(
        self, name: str, parameters: Sequence[click.Parameter], summary: str, *, takes_options_last: bool
    ) -> None:
        settings: dict[str, Any] = {"allow_interspersed_args": takes_options_last}
        super().__init__(
            name, params=list(parameters), help=summary, add_help_option=False, context_settings=settings
        )
        self._takes_options_last = takes_options_last
        self._options = {
            flag: option for option in parameters if isinstance(option, click.Option) for flag in option.opts
        }
        self._arguments = [argument for argument in parameters if isinstance(argument, click.Argument)]
        self._left_out = _left_out(parameters) if _are_plain(parameters, self._arguments) else None
        self._needed = frozenset(str(parameter.name) for parameter in parameters if parameter.required)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:  # noqa: ARG002 - click's own method
        """Return them."""
        return self.params

    def values(self, words: Sequence[str]) -> dict[str, Any]:
        """Return the value of each parameter, in the order in which click has them.

        Args:
            words: What follows the command's name.

        Raises:
            click.ClickException: When they are no such command.
        """
        try:
            plain = None if self._left_out is None else self._plain_values(words, self._left_out)
        except click.ClickException:
            plain = None
        return dict(self.make_context(self.name, list(words)).params) if plain is None else plain

    def _plain_values(self, words: Sequence[str], left_out: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what click would, where that takes no more than the declaration; None where it may."""
        given: dict[str, Any] = {}
        places = self._options_of(words, given)
        if places is None or not self._place(places, given, left_out):
            return None
        if not self._needed <= given.keys():
            return None
        for name, value in left_out.items():
            given.setdefault(name, value)
        return given

    def _options_of(self, words: Sequence[str], given: dict[str, Any]) -> list[str] | None:
        """Take the options' values, and return the other words; None where click has to look."""
        others: list[str] = []
        rest = iter(words)
        for word in rest:
            if word == "--":
                break
            if not word.startswith("-") or word == "-":
                others.append(word)
                if self._takes_options_last:
                    continue
                break
            flag, equals, value = word.partition("=")
            option = self._options.get(flag)
            if option is None or (option.is_flag and equals):
                return None
            name = str(option.name)
            if option.is_flag:
                given[name] = True
                continue
            text = value if equals else next(rest, None)
            if text is None:
                return None
            read = option.type.convert(text, option, None)
            if read is None:  # for click the value is missing then, and may be needed
                return None
            given[name] = (*given.get(name, ()), read) if option.multiple else read
        others += rest
        return others

    def _place(self, others: list[str], given: dict[str, Any], left_out: Mapping[str, Any]) -> bool:
        """Give the words that are no options to the arguments; return whether all found a place."""
        left = iter(others)
        for argument in self._arguments:
            words = tuple(left) if argument.nargs == -1 else tuple(islice(left, 1))
            values = tuple(argument.type.convert(word, argument, None) for word in words)
            if None in values or (argument.required and not values):
                return False
            name = str(argument.name)
            if not values:
                given[name] = left_out[name]
            else:
                given[name] = values if argument.nargs == -1 else values[0]
        return next(left, None) is None


def _left_out(parameters: Sequence[click.Parameter]) -> Mapping[str, Any] | None:
    """Return what click says of parameters that are left out and may be; None where it refuses that."""
    optional = [parameter for parameter in parameters if not parameter.required]
    try:
        return click.Command(None, params=optional, add_help_option=False).make_context("", []).params
    except click.ClickException:
        return None


def stands_alone(parameter: click.Parameter) -> bool:
    """Tell whether this is an option that may stand without its value."""
    # click (8.5) marks an option declared with `is_flag=False` as one that may stand without its value, and
    # then reads a value that begins with a dash as the next option. It says so nowhere else.
    return bool(getattr(parameter, "_flag_needs_value", False))


def _are_plain(parameters: Sequence[click.Parameter], arguments: Sequence[click.Argument]) -> bool:
    if len({parameter.name for parameter in parameters}) < len(parameters):
        return False
    return all(map(_is_plain, parameters)) and all(argument.nargs == 1 for argument in arguments[:-1])


def _is_plain(parameter: click.Parameter) -> bool:
    """Tell whether a parameter's value is nothing but its words, converted: click has more kinds."""
    if parameter.callback is not None or parameter.is_eager or parameter.envvar or parameter.deprecated:
        return False
    if parameter.type.is_composite or not parameter.expose_value or callable(parameter.default):
        return False
    if type(parameter.type).__call__ is not click.ParamType.__call__:
        return False
    if type(parameter) is click.Option:  # a class below it may read otherwise
        return _is_plain_option(parameter)
    return type(parameter) is click.Argument and parameter.nargs in (1, -1)


def _is_plain_option(option: click.Option) -> bool:
    if option.secondary_opts or any(not flag.startswith("--") or flag == "--" for flag in option.opts):
        return False
    if option.is_flag:
        return option.is_bool_flag and option.flag_value is not False and not option.multiple
    return option.nargs == 1 and option.prompt is None and not option.count and not stands_alone(option)
