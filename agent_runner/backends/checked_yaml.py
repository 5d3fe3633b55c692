"""Read a YAML file into a strict model; what is wrong is told with file, line and column, and no value of it.

Values are left out of messages because a key may have been written in the wrong place.
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
from policies.errors import Problem, RuleAt
from policies.wording import listed, nearest, quoted

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]
_VALUE_ERROR: Final = "value error, "
_EXPECTED: Final = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
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
        faults = _told(error.errors(include_url=False))[:MOST_PROBLEMS]
        raise InvalidFileError([_problem(fault, tree, path, what, model) for fault in faults]) from error


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


def _told(faults: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out that a list is too short where its items are at fault: pydantic counts the good ones."""
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short"
        or not any(other["loc"][:-1][: len(fault["loc"])] == fault["loc"] for other in faults)
    ]


def _problem(  # noqa: PLR0911 - one return for each kind of fault
    fault: ErrorDetails, tree: object, path: Path, what: str, model: type[BaseModel]
) -> Problem:
    line, column, known = _position(tree, fault["loc"])
    at = RuleAt(str(path), line, column)
    place = f"`{'.'.join(map(str, known)) or what}`"
    last = str(fault["loc"][-1]) if fault["loc"] else ""
    match fault["type"]:
        case "extra_forbidden":
            keys = _keys_at(model, fault["loc"][:-1])
            block = f" in `{'.'.join(map(str, known[:-1]))}`" if known[:-1] else ""
            near = nearest(last, keys)
            hint = f"did you mean `{near}`?" if near else f"known keys are {listed(keys)}"
            return Problem(at, f"key {quoted(last)} is not known{block}", hint)
        case "missing":
            return _missing(at, last, known)
        case "union_tag_not_found":
            return _missing(at, fault["ctx"]["discriminator"].strip("'"), known)
        case "union_tag_invalid":
            key, tags = (
                fault["ctx"]["discriminator"].strip("'"),
                fault["ctx"]["expected_tags"].replace("'", ""),
            )
            near = nearest(fault["ctx"]["tag"], tags.split(", "))
            hint = f"did you mean `{near}`?" if near else f"one of {listed(tags.split(', '))}"
            return Problem(at, f"{place}: its `{key}` is none that is known", hint)
        case "model_type" | "dict_type" | "model_attributes_type":
            keys = _keys_at(model, fault["loc"])
            return Problem(at, f"{place}: expected a block", f"its keys are {listed(keys)}" if keys else "")
        case "too_short":
            return Problem(at, f"{place}: expected at least {fault['ctx']['min_length']}")
        case kind if kind in _EXPECTED:
            return Problem(at, f"{place}: expected {_EXPECTED[kind]}")
        case _:
            said, _, hint = _lower(fault["msg"]).removeprefix(_VALUE_ERROR).partition("; hint: ")
            return Problem(at, f"{place}: {said}", hint)


def _missing(at: RuleAt, key: str, known: Location) -> Problem:
    block = f" in `{'.'.join(map(str, known))}`" if known else ""
    return Problem(at, f"key `{key}` is missing{block}", f"add `{key}: …`")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _keys_at(model: type[BaseModel], location: Location) -> tuple[str, ...]:
    """Return the keys that a block may have, by the place that pydantic gives it, a union's tag included."""
    blocks, is_name = [model], False
    for part in location:
        field = next((block.model_fields[part] for block in blocks if part in block.model_fields), None)
        if field is not None and not is_name:
            blocks = list(_blocks_in(field.annotation))
            is_name = typing.get_origin(field.annotation) is dict
        elif tagged := [block for block in blocks if _is_tagged(block, part)]:
            blocks = tagged
        else:  # an item of a list, or a name that the file's writer chose
            is_name = False
    return tuple(dict.fromkeys(name for block in blocks for name in block.model_fields))


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
