"""Read an action written as one line, for expectations and questions; the gate has a stricter parser."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from policies.errors import VocabularyError
from policies.request import ActionRequest, HttpUse, PathUse, SinkUse
from policies.wording import listed, nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from policies.facts import ArgumentFacts, CommandFacts
    from policies.request import ArgumentValue

LONGEST_LINE: Final = 8192


def request_from_line(line: str, commands: Sequence[CommandFacts]) -> ActionRequest:
    """Read an action.

    Args:
        line: As an agent would write it, for example `http get https://example.com/`.
        commands: The commands that exist.

    Returns:
        The action, ready to be decided on.

    Raises:
        VocabularyError: When the command or one of its arguments does not exist, or quotes do not close.
    """
    if len(line) > LONGEST_LINE:
        raise VocabularyError(f"the action is longer than {LONGEST_LINE} characters")
    try:
        words = shlex.split(line)
    except ValueError:
        raise VocabularyError(f"the quotes of {quoted(line)} do not close") from None
    facts = _command(words, commands)
    return request_from_values(facts, _values(facts, words[len(facts.path) :]))


def request_from_values(facts: CommandFacts, values: dict[str, list[str]]) -> ActionRequest:
    """Make a request from a command's arguments.

    Args:
        facts: The command.
        values: Argument -> its values.

    Returns:
        The action, with what its arguments touch.
    """
    given = [(argument, values[argument.name]) for argument in facts.arguments if argument.name in values]
    by_role = [(argument.role, value) for argument, found in given for value in found]
    return ActionRequest(
        command=facts.path,
        needs=facts.needs,
        arguments={argument.name: _value(argument, found) for argument, found in given},
        paths=tuple(PathUse(value, role) for role, value in by_role if role in {"read", "write"}),
        http=tuple(HttpUse(facts.method or "GET", value) for role, value in by_role if role == "url"),
        sinks=tuple(
            SinkUse(argument.name, argument.sink, values.get(argument.name))
            for argument in facts.arguments
            if argument.sink is not None
        ),
        program=facts.program or next((value for role, value in by_role if role == "program"), None),
    )


def _value(argument: ArgumentFacts, found: list[str]) -> ArgumentValue:
    if argument.flag:
        return True
    return tuple(found) if argument.many else found[-1]


def _command(words: list[str], commands: Sequence[CommandFacts]) -> CommandFacts:
    fitting = [facts for facts in commands if tuple(words[: len(facts.path)]) == facts.path]
    if fitting:
        return max(fitting, key=lambda facts: len(facts.path))
    wanted = " ".join(words[:2])
    near = nearest(wanted, [facts.name for facts in commands])
    hint = (
        f"did you mean `{near}`?" if near else f"commands are {listed(facts.name for facts in commands[:12])}"
    )
    raise VocabularyError(f"command {quoted(wanted)} does not exist", hint=hint)


def _values(facts: CommandFacts, words: list[str]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    positional = [argument for argument in facts.arguments if argument.positional]
    rest = list(words)
    only_values = False
    while rest:
        word = rest.pop(0)
        if word == "--" and not only_values:
            only_values = True
        elif word.startswith("--") and not only_values:
            _option(facts, word, rest, values)
        else:
            argument = _next_positional(facts, positional, word)
            values.setdefault(argument.name, []).append(word)
            only_values = only_values or argument.role == "program"
    return values


def _next_positional(facts: CommandFacts, positional: list[ArgumentFacts], word: str) -> ArgumentFacts:
    if not positional:
        raise VocabularyError(f"command `{facts.name}` does not take {quoted(word)}")
    return positional[0] if positional[0].many else positional.pop(0)


def _option(facts: CommandFacts, word: str, rest: list[str], values: dict[str, list[str]]) -> None:
    name, equals, value = word[2:].partition("=")
    argument = facts.option(name)
    if argument is None:
        options = [f"--{known.spelt or known.name}" for known in facts.arguments if not known.positional]
        raise VocabularyError(
            f"command `{facts.name}` has no {quoted('--' + name)}", hint=f"it has {listed(options)}"
        )
    if argument.flag:
        values[argument.name] = ["true"]
        return
    if not equals:
        if not rest:
            raise VocabularyError(f"`--{name}` of `{facts.name}` needs a value")
        value = rest.pop(0)
    values.setdefault(argument.name, []).append(value)
