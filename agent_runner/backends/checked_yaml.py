"""Read a YAML file into a strict model; what is wrong is told with file, line and column."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from agent_runner.errors import InvalidInputError

if TYPE_CHECKING:
    from pathlib import Path

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]
_VALUE_ERROR: Final = "value error, "


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
        raise InvalidInputError(f"{path}:1:1: not UTF-8 at byte {error.start}") from error
    if len(raw) > maximum_bytes:
        raise InvalidInputError(f"{what} `{path}` is larger than {maximum_bytes} bytes")
    tree = _parsed(text, path)
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise _first_problem(error, tree, path, what) from error


def _parsed(text: str, path: Path) -> object:
    try:
        return YAML(typ="rt", pure=True).load(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else f"{path}:1:1"
        raise InvalidInputError(f"{where}: {_lower(error.problem or 'not valid YAML')}") from error
    except (YAMLError, RecursionError, ValueError) as error:
        raise InvalidInputError(f"{path}:1:1: not valid YAML") from error


def _first_problem(error: ValidationError, tree: object, path: Path, what: str) -> InvalidInputError:
    first = error.errors(include_url=False)[0]
    line, column, known = _position(tree, first["loc"])
    # The tail names what is missing, which the file does not have; names of types and branches are left out.
    missing = [part for part in first["loc"][-1:] if first["type"] in {"missing", "extra_forbidden"}]
    place = ".".join(str(part) for part in (*known, *(part for part in missing if part not in known[-1:])))
    words = _lower(first["msg"]).removeprefix(_VALUE_ERROR)
    return InvalidInputError(f"{path}:{line}:{column}: `{place or what}`: {words}")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


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
