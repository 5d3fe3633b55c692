"""Read a YAML file into a strict model; what is wrong is told with file, line and column.

Values are left out of messages because a key may have been written in the wrong place; names are told.
"""

from __future__ import annotations

import typing
from io import StringIO
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from agent_runner.errors import InvalidFileError, InvalidInputError
from policies.document import MOST_PROBLEMS, mend_of
from policies.errors import BadValueError, Problem, RuleAt
from policies.wording import listed, nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]
_VALUE_ERROR: Final = "value error, "
_KEY: Final = "[key]"
"""How pydantic ends the location of a key that is at fault itself."""
_EXPECTED: Final = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list, as in `[one, two]`",
}


def read_checked(path: Path, model: type[Model], *, what: str, maximum_bytes: int) -> Model:
    """Read and check a file.

    Args:
        path: The file.
        model: What it has to be.
        what: How messages call it.
        maximum_bytes: The longest that is read.

    Raises:
        InvalidInputError: When it is missing or is none; the message has file:line:column.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(maximum_bytes + 1)
        text = raw.decode()
    except OSError as error:
        raise InvalidInputError(f"{what} `{path}` cannot be read: {str(error.strerror).lower()}") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{path}:1:1: not UTF-8 at byte {error.start}", hint="save it as UTF-8"
        ) from error
    if len(raw) > maximum_bytes:
        raise InvalidInputError(f"{what} `{path}` is larger than {maximum_bytes} bytes")
    tree = _parsed(text, path)
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        faults = _told(error.errors(include_url=False), model)[:MOST_PROBLEMS]
        problems = [_problem(fault, tree, path, what, model) for fault in faults]
        raise InvalidFileError(_joined(problems)) from error


def _parsed(text: str, path: Path) -> object:
    try:
        return YAML(typ="rt", pure=True).load(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else f"{path}:1:1"
        message = f"{where}: {_lower(error.problem or 'not valid YAML')}"
        raise InvalidInputError(message, hint=mend_of(error)) from error
    except (YAMLError, RecursionError, ValueError) as error:
        raise InvalidInputError(f"{path}:1:1: not valid YAML") from error


def _told(faults: list[ErrorDetails], model: type[BaseModel]) -> list[ErrorDetails]:
    """Leave out what follows from another fault."""
    locations = [fault["loc"] for fault in faults]
    bad_keys = {location[:-1] for location in locations if location[-1:] == (_KEY,)}
    meant = {
        (*location[:-1], nearest(str(location[-1]), _keys(_blocks_at(model, location[:-1])[0])))
        for fault, location in zip(faults, locations, strict=True)
        if fault["type"] == "extra_forbidden"
    }

    def follows(fault: ErrorDetails) -> bool:
        location = fault["loc"]
        if fault["type"] == "missing":
            return location in meant
        if fault["type"] == "too_short":  # pydantic counts the items that are good
            return any(other[:-1][: len(location)] == location for other in locations)
        return location[-1:] != (_KEY,) and any(location[: len(key)] == key for key in bad_keys)

    return [fault for fault in faults if not follows(fault)]


def _joined(problems: list[Problem]) -> list[Problem]:
    """Make one of the problems at one place that differ in what they expect at most: a union's members."""
    found: dict[tuple[RuleAt, str], tuple[list[str], str]] = {}
    for problem in problems:
        head, expected, rest = problem.message.partition(": expected ")
        kinds, hint = found.get((problem.at, head + expected), ([], ""))
        found[problem.at, head + expected] = list(dict.fromkeys([*kinds, rest])), hint or problem.hint
    return [
        Problem(at, head + " or ".join([*([", ".join(kinds[:-1])] if kinds[1:] else []), kinds[-1]]), hint)
        for (at, head), (kinds, hint) in found.items()
    ]


def _problem(  # noqa: PLR0911 - one return for each kind of fault
    fault: ErrorDetails, tree: object, path: Path, what: str, model: type[BaseModel]
) -> Problem:
    line, column, known = _position(tree, fault["loc"])
    at = RuleAt(str(path), line, column)
    last = str(fault["loc"][-1]) if fault["loc"] else ""
    place = f"`{'.'.join(map(str, known)) or what}`" if last != _KEY else _bad_key(fault["loc"][-2], known)
    match fault["type"]:
        case "extra_forbidden":
            keys = _keys(_blocks_at(model, fault["loc"][:-1])[0])
            mend = _near(last, keys, "known keys are")
            return Problem(at, f"key {quoted(last)} is not known{_within(known[:-1])}", mend)
        case "missing":
            return _missing(at, last, known)
        case "union_tag_not_found":
            return _missing(at, fault["ctx"]["discriminator"].strip("'"), known)
        case "union_tag_invalid":
            key = fault["ctx"]["discriminator"].strip("'")
            tags = fault["ctx"]["expected_tags"].replace("'", "").split(", ")
            mend = _near(fault["ctx"]["tag"], tags, "one of")
            return Problem(at, f"{place}: its `{key}` is none that is known", mend)
        case "model_type" | "dict_type" | "model_attributes_type":
            return Problem(at, f"{place}: expected a block", _block_mend(*_blocks_at(model, fault["loc"])))
        case "literal_error":
            return Problem(at, f"{place}: expected " + fault["ctx"]["expected"].replace("'", "`"))
        case "too_short":
            return Problem(at, f"{place}: expected at least {fault['ctx']['min_length']}")
        case kind if kind in _EXPECTED:
            return Problem(at, f"{place}: expected {_EXPECTED[kind]}")
        case _:
            return _bad_value(fault, at, place)


def _bad_value(fault: ErrorDetails, at: RuleAt, place: str) -> Problem:
    error = fault.get("ctx", {}).get("error")
    if isinstance(error, BadValueError):
        said = error.message.removeprefix(quoted(fault["input"]))
        return Problem(at, place + (said if said != error.message else f": {said}"), error.hint)
    said, _, hint = _lower(fault["msg"]).removeprefix(_VALUE_ERROR).partition("; hint: ")
    return Problem(at, f"{place}: {said}", hint)


def _near(given: str, known: Sequence[str], otherwise: str) -> str:
    near = nearest(given, known)
    return f"did you mean `{near}`?" if near else f"{otherwise} {listed(known)}"


def _within(block: Location) -> str:
    return f" in `{'.'.join(map(str, block))}`" if block else ""


def _bad_key(key: int | str, known: Location) -> str:
    return f"key {quoted(key)}{_within(known[:-1] if known[-1:] == (key,) else known)}"


def _missing(at: RuleAt, key: str, known: Location) -> Problem:
    return Problem(at, f"key `{key}` is missing{_within(known)}", f"add `{key}: …`")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _blocks_at(model: type[BaseModel], location: Location) -> tuple[list[type[BaseModel]], bool]:
    """Return the blocks that may stand at a place, and whether they do so below names of the writer's.

    Args:
        model: What the file is.
        location: The place as pydantic gives it, a union's tag included.
    """
    blocks, below_names = [model], False
    for part in location:
        if below_names:
            below_names = False
            continue
        field = next((block.model_fields[part] for block in blocks if part in block.model_fields), None)
        if field is not None:
            blocks = list(_blocks_in(field.annotation))
            below_names = typing.get_origin(field.annotation) is dict
        elif tagged := [block for block in blocks if _is_tagged(block, part)]:
            blocks = tagged
    return blocks, below_names


def _keys(blocks: list[type[BaseModel]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for block in blocks for name in block.model_fields))


def _block_mend(blocks: list[type[BaseModel]], below_names: bool) -> str:  # noqa: FBT001 - as _blocks_at returns it
    if below_names:
        return f"names, each with a {'block' if blocks else 'value'}"
    first = blocks[0].model_fields if blocks[1:] else ()
    tag = next((name for name in first if all(_literals(block, name) for block in blocks)), None)
    if tag:
        return f"its `{tag}` is one of {listed(value for block in blocks for value in _literals(block, tag))}"
    return f"its keys are {listed(_keys(blocks))}" if blocks else ""


def _literals(block: type[BaseModel], name: str) -> tuple[str, ...]:
    """Return what a field may be where it has a few values, else nothing."""
    annotation = block.model_fields[name].annotation if name in block.model_fields else None
    return typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()


def _is_tagged(block: type[BaseModel], tag: int | str) -> bool:
    literals = (typing.get_args(field.annotation) for field in block.model_fields.values())
    return tag == block.__name__ or any(tag in values for values in literals)


def _blocks_in(annotation: object) -> typing.Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _blocks_in(argument)


def _position(tree: object, location: Location) -> tuple[int, int, Location]:
    """Return line and column, from 1, of the deepest node of a location that the file has, and its path."""
    line, column, node = 1, 1, tree
    known: list[int | str] = []
    for part in location:
        try:
            if isinstance(node, CommentedMap):
                row, offset = node.lc.key(part)
            elif isinstance(node, CommentedSeq):
                row, offset = node.lc.item(part)
            else:
                break
            node = node[part]
        except (KeyError, IndexError, TypeError):
            continue
        line, column = row + 1, offset + 1
        known.append(part)
    return line, column, tuple(known)
