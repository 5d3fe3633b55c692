"""Find what contradicts itself in a declared command, or would let a value be more than one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli_tools.declared.argv import places
from cli_tools.declared.document import DeclaredArgument, DeclaredCommand, DeclaredGroup
from cli_tools.declared.example import example_faults
from cli_tools.declared.pattern import BadPatternError, Pattern
from cli_tools.declared.programs import input_faults, path_faults, started_by, value_faults
from cli_tools.declared.slots import slots_of
from policies.errors import PolicyError
from policies.grant import Grant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

Fault = tuple[tuple[str | int, ...], str, str]
"""Where in the command, what is wrong, and the mend."""

RESERVED: Final = frozenset(
    {"files", "git", "http", "run", "finish", "output", "python", "shell", "slack", "mail", "mcp", "tools"}
)
"""First words of built-in commands: a pattern as `files *` takes in nothing that its writer did not mean."""
_OWN: Final = {
    "access": "path",
    "values": "enum",
    "least": "integer",
    "most": "integer",
    "pattern": "pattern",
}
_LONGEST_SECONDS: Final = 300


def faults(declared: DeclaredCommand) -> Iterator[Fault]:
    """Yield everything that is wrong, in the order of the file."""
    yield from _named(declared)
    yield from _needing(declared)
    if "stdin" in declared.arguments:
        yield ("arguments", "stdin"), "`stdin` is what comes beside the line", "declare it as `stdin: {}`"
    for name, argument in declared.arguments.items():
        for path, what, mend in _argument(argument):
            yield ("arguments", name, *path), what, mend
    yield from _positional(declared)
    yield from _sinks(declared)
    yield from _template(declared)
    yield from _program(declared)
    yield from _output(declared)
    for place, example in enumerate(declared.examples):
        for path, what, mend in example_faults(example):
            yield ("examples", place, *path), what, mend


def _named(declared: DeclaredCommand) -> Iterator[Fault]:
    first = declared.name.split(" ")[0]
    if first in RESERVED:
        yield ("name",), f"`{first}` begins the built-in commands", "choose another first word"
    if float(declared.seconds) > _LONGEST_SECONDS or float(declared.seconds) <= 0:
        yield ("seconds",), f"expected 1s to {_LONGEST_SECONDS}s: no action takes longer", ""
    for what, mend in path_faults(declared.program):
        yield ("program",), what, mend


def _needing(declared: DeclaredCommand) -> Iterator[Fault]:
    kinds = {argument.type for argument in declared.arguments.values()}
    if declared.connector:
        yield from _connected(declared, kinds)
    elif "exec" not in declared.needs:
        mend = "add `exec`: a program of the image starts only where the kernel lets it"
        yield ("needs",), "a declared command starts a program", mend
    if "path" in kinds and "files" not in declared.needs and not declared.connector:
        yield ("needs",), "an argument is a path of the workspace", "add `files`"
    if "host" in kinds and "network" not in declared.needs:
        yield ("needs",), "an argument is a host", "add `network`"
    try:
        Grant.of(declared.capabilities)
    except PolicyError:
        yield ("needs",), "no session holds `files`, `network` and `exec`", "split the command"


def _connected(declared: DeclaredCommand, kinds: Collection[str]) -> Iterator[Fault]:
    """What runs in a connector's container exercises what it is declared to, and not the session's `exec`."""
    if "network" not in declared.needs:
        yield ("needs",), "a connector's program reaches hosts", "add `network`"
    if "exec" in declared.needs:
        yield ("needs",), "a connector's program does not run in the session", "leave `exec` out"
    if "path" in kinds:
        yield ("arguments",), "a connector's container has no workspace", "take content by `stdin`"
    if declared.image:
        yield ("image",), "the image of a connector's container is in the configuration", "leave `image` out"


def _positional(declared: DeclaredCommand) -> Iterator[Fault]:
    several = [
        name for name, argument in declared.arguments.items() if argument.many and argument.is_required
    ]
    for name in several[1:]:
        what = f"`{several[0]}` and `{name}` may both have several values, and stand by position"
        yield ("arguments", name), what, f"add `required: false`: it is then `--{name}`"


def _argument(argument: DeclaredArgument) -> Iterator[Fault]:
    for field, kind in _OWN.items():
        if getattr(argument, field) not in (None, ()) and argument.type != kind:
            yield (field,), f"`{field}` belongs to `type: {kind}`", "leave it out"
    if argument.type == "flag" and (argument.many or argument.default is not None or argument.required):
        yield (), "a flag is given or not; it has no value", "leave `many`, `default` and `required` out"
    if argument.many and argument.default is not None:
        yield ("default",), "an argument with `many` has no default", "leave it out"
    if argument.required and argument.default is not None:
        yield ("default",), "what is required has no default", "leave one of them out"
    yield from _typed(argument)


def _typed(argument: DeclaredArgument) -> Iterator[Fault]:
    match argument.type:
        case "path" if argument.access is None:
            yield (), "a path says what is done with it", "add `access: read`, or `write`"
        case "enum" if not argument.values:
            yield (), "an enum has values", "add `values: […]`"
        case "integer":
            yield from _integer(argument)
        case "pattern":
            yield from _pattern("pattern", argument.pattern or "")
        case _:
            pass
    default = argument.default
    if default is None or argument.type == "flag":
        return
    if argument.type == "integer" and not isinstance(default, int):
        yield ("default",), f"`{default}` is no integer", ""
    if argument.type == "enum" and default not in argument.values:
        yield ("default",), f"`{default}` is none of the values", ""


def _integer(argument: DeclaredArgument) -> Iterator[Fault]:
    if argument.least is None or argument.most is None or argument.least > argument.most:
        yield (), "an integer has bounds", "add `least: …` and `most: …`, the smaller first"
    elif isinstance(argument.default, int) and not argument.least <= argument.default <= argument.most:
        yield ("default",), f"`{argument.default}` is not within the bounds", ""


def _pattern(field: str, text: str) -> Iterator[Fault]:
    try:
        Pattern(text)
    except BadPatternError as error:
        yield (field,), str(error), "RE2's syntax: no look-around, no back references"


def _sinks(declared: DeclaredCommand) -> Iterator[Fault]:
    for name in declared.sinks:
        if name not in declared.arguments:
            yield ("sinks", name), f"`{name}` is no argument", "sinks are arguments"
    for name, argument in declared.arguments.items():
        if argument.type == "host" and name not in declared.sinks:
            yield ("sinks",), f"`{name}` is a host, and so a sink", f"add `{name}: host`"


def _output(declared: DeclaredCommand) -> Iterator[Fault]:
    shown = declared.output
    for field, patterns in (("keep", shown.keep), ("drop", shown.drop)):
        for place, text in enumerate(patterns):
            for _, what, mend in _pattern(field, text):
                yield ("output", field, place), what, mend
    if shown.first_lines and shown.last_lines:
        yield ("output", "last_lines"), "`first_lines` and `last_lines`: give one", ""


def _template(declared: DeclaredCommand) -> Iterator[Fault]:
    used: set[str] = set()
    for place, item in enumerate(declared.argv):
        given = item.given if isinstance(item, DeclaredGroup) else ""
        if given:
            used.add(given)
            if given not in declared.arguments:
                yield ("argv", place), f"`with: {given}` names no argument", ""
        for word in item.words if isinstance(item, DeclaredGroup) else (item,):
            used.update(places(word))
            for what, mend in _word(declared, word, given):
                yield ("argv", place), what, mend
    for name in declared.arguments:
        if name not in used:
            yield ("arguments", name), f"`{name}` stands nowhere in `argv`", "use it, or leave it out"


def _program(declared: DeclaredCommand) -> Iterator[Fault]:
    """What the program would take for another program, or for its own text: there no value stands."""
    slots = slots_of(declared)
    if name := started_by(declared.program, slots):
        mend = "declare the program itself, or a script of the image"
        yield ("program",), f"`{name}` starts whatever program its words name", mend
    for what, mend in value_faults(declared.program, slots):
        yield ("argv",), what, mend
    for what, mend in input_faults(declared.program, slots) if declared.stdin is not None else ():
        yield ("stdin",), what, mend


def _word(declared: DeclaredCommand, word: str, given: str) -> Iterator[tuple[str, str]]:
    found = places(word)
    if "\0" in word or "\n" in word:
        yield f"word `{word[:60]!a}` holds a NUL or a line end", ""
    if len(found) > 1:
        yield f"word `{word}` holds two values", "a word holds one at most"
    for name in found[:1]:
        argument = declared.arguments.get(name)
        if argument is None:
            yield f"`{{{name}}}` names no argument", "declare it under `arguments`"
            continue
        yield from _value(argument, name, word, given)


def _value(argument: DeclaredArgument, name: str, word: str, given: str) -> Iterator[tuple[str, str]]:
    before = word.partition("{")[0]
    if argument.type == "flag":
        yield f"`{name}` is a flag and has no value", f"write `{{with: {name}, words: […]}}`"
    if argument.many and word != f"{{{name}}}":
        yield f"`{name}` may have several values", f"write `{{{name}}}` alone: each is a word"
    if not argument.is_required and argument.default is None and given != name and not argument.many:
        yield f"`{name}` may be left out", f"write its words as `{{with: {name}, words: […]}}`"
    if before and not before.strip("-"):
        yield f"in `{word}` a value would be the name of an option", "write the option out"
    elif before.startswith("-") and "=" not in before and argument.type not in ("integer", "enum"):
        mend = "write `--option={…}`, or the option and the value as two words"
        yield f"in `{word}` a value could be read as further short options", mend
