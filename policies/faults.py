"""Turn what pydantic found wrong into problems with a place, an expectation and the nearest valid key."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ValidationError

from policies.document import MOST_PROBLEMS
from policies.errors import BadValueError, Problem
from policies.wording import listed, nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from policies.document import Document, Path

MOST_ENTRIES: Final = 256  # of one list whose entries are compared with each other
MOST_NAMES: Final = 2048  # of one that is only looked through
_LOOKED_THROUGH: Final = frozenset(
    {
        ("files", "hide"),
        ("files", "protect"),
        ("files", "visible"),
        ("network", "deny"),
        ("exec", "programs"),
        ("commands", "deny"),
    }
)
_WANTED = {
    "tuple_type": ("a list", "as in `[one, two]`"),
    "mapping_type": ("a block", "keys and values, as in `key: value`"),
    "string_type": ("a text", "quote it if it is meant as text"),
    "int_type": ("a whole number", "without quotes, as in `443`"),
    "bool_type": ("true or false", "YAML 1.2 knows only `true` and `false`"),
}


def settings_without_value(document: Document, *, below: int) -> list[Problem]:
    """List settings that are written and say nothing, which might otherwise be read as no bound at all.

    Args:
        document: The document that was validated.
        below: How deep a key may stand and still have no value: 1 for a file's blocks, 0 for none.

    Returns:
        One problem for each.
    """
    return [
        Problem(
            document.keys_at.get(path, document.at(path)),
            f"{quoted(path[-1])} has no value",
            "write one, or leave the key out",
        )
        for path in _empty(document.value, ())
        if len(path) > below
    ]


def long_lists(document: Document) -> list[Problem]:
    """List the lists that are longer than any person writes: what is compared pair by pair would take hours.

    Args:
        document: The document that was validated.

    Returns:
        One problem for each; expectations are read one by one, and are not counted.
    """
    lists = ((path, value) for path, value in _lists(document.value, ()) if path != ("expect",))
    return [
        Problem(
            document.keys_at.get(path, document.at(path)),
            f"{quoted('.'.join(map(str, path)))} has {len(value)} entries; expected at most {most}",
            "patterns say more with fewer",
        )
        for path, value in lists
        if len(value) > (most := MOST_NAMES if path in _LOOKED_THROUGH else MOST_ENTRIES)
    ]


def _lists(value: object, path: Path) -> Iterator[tuple[Path, tuple[object, ...]]]:
    items: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, tuple):
        yield path, value
        items = enumerate(value)
    elif isinstance(value, dict):
        items = value.items()
    for key, item in items:
        yield from _lists(item, (*path, key))


def _empty(value: object, path: Path) -> Iterator[Path]:
    if isinstance(value, dict):
        for key, item in value.items():
            if item is None:
                yield (*path, str(key))
            yield from _empty(item, (*path, str(key)))
    elif isinstance(value, tuple | list):
        for place, item in enumerate(value):
            yield from _empty(item, (*path, place))


def problems_of(exc: ValidationError, document: Document, model: type[BaseModel]) -> list[Problem]:
    """List what is wrong.

    Args:
        exc: What pydantic raised.
        document: The document that was validated.
        model: The model it was validated as.

    Returns:
        One problem for each fault.
    """
    faults = exc.errors(include_url=False)
    found = [_problem(fault, document, model) for fault in faults[:MOST_PROBLEMS]]
    if more := faults[MOST_PROBLEMS:]:
        first = more[0]["loc"]
        at = document.keys_at.get(first, document.at(first))
        found.append(Problem(at, f"{len(more)} more faults begin here"))
    return found


def _problem(fault: ErrorDetails, document: Document, model: type[BaseModel]) -> Problem:  # noqa: PLR0911 - one return for each kind of fault
    path = _without_tags(fault["loc"], document.value, missing=fault["type"] == "missing")
    dotted = ".".join(str(part) for part in path)
    match fault["type"]:
        case "extra_forbidden":
            return _unknown_key(path, document, model)
        case "missing":
            return Problem(
                document.at(path[:-1]), f"key {quoted(path[-1])} is missing", f"add `{path[-1]}: …`"
            )
        case "value_error":
            return _bad_value(fault, path, document)
        case "model_type" | "model_attributes_type":
            what = f"{quoted(dotted)} is {quoted(fault['input'])}; expected a block"
            return Problem(document.at(path), what, _block_mend(_keys_at(model, path)))
        case "string_too_long":
            return Problem(
                document.at(path), f"{quoted(dotted)} is longer than {fault['ctx']['max_length']} characters"
            )
        case kind if kind in _WANTED:
            wanted, hint = _WANTED[kind]
            if wanted == "a list" and isinstance(fault["input"], str | int):
                hint = f"write `[{quoted(fault['input'])[1:-1]}]`"
            return Problem(
                document.at(path),
                f"{quoted(dotted or 'the file')} is {quoted(fault['input'])}; expected {wanted}",
                hint,
            )
        case _:
            return Problem(document.at(path), f"{quoted(dotted)} is not valid: {fault['msg'].lower()}")


def _without_tags(path: Path, value: object, *, missing: bool) -> Path:
    """Leave out the parts that name a type which was tried: they stand in no file."""
    kept: list[str | int] = []
    for part in path[:-1] if missing else path:
        match value:
            case dict() if part in value:
                value = value[part]
            case list() | tuple() if isinstance(part, int):
                value = value[part]
            case _ if part != "[key]":
                continue
        kept.append(part)
    return (*kept, *(path[-1:] if missing else ()))


def _bad_value(fault: ErrorDetails, path: Path, document: Document) -> Problem:
    error = fault["ctx"]["error"]
    if not isinstance(error, BadValueError):
        return Problem(document.at(path), str(error))
    return Problem(error.at or document.at(path), error.message, error.hint)


def _unknown_key(path: Path, document: Document, model: type[BaseModel]) -> Problem:
    known = _keys_at(model, path[:-1])
    block = ".".join(str(part) for part in path[:-1])
    where = f" in {quoted(block)}" if block else ""
    key = str(path[-1])
    near = nearest(key, known)
    hint = f"did you mean `{near}`?" if near else f"known keys are {listed(known)}" if known else ""
    if near is None and (home := _home_of(key, model)):
        hint = f"it belongs in `{home}`"
    return Problem(
        document.keys_at.get(path, document.at(path)), f"key {quoted(key)} is not known{where}", hint
    )


def _block_mend(known: Mapping[str, FieldInfo]) -> str:
    required = next((name for name, field in known.items() if field.is_required()), None)
    return f"as in `{required}: …`" if required else f"its keys are {listed(known)}"


def _home_of(key: str, model: type[BaseModel]) -> str | None:
    for name, field in model.model_fields.items():
        block = _block_in(field.annotation)
        if block is not None and key in block.model_fields:
            return name
    return None


def _keys_at(model: type[BaseModel], path: Path) -> Mapping[str, FieldInfo]:
    current, is_name = model, False
    for part in path:
        if isinstance(part, int) or is_name:  # an item of a list, or a name that the file's writer chose
            is_name = False
            continue
        field = current.model_fields.get(part)
        found = _block_in(field.annotation) if field else None
        if field is None or found is None:
            return {}
        current, is_name = found, typing.get_origin(field.annotation) is dict
    return current.model_fields


def _block_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_block_in(argument) for argument in typing.get_args(annotation))
    return next((block for block in found if block is not None), None)
