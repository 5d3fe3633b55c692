"""Make the smallest value of each shape that an SDK's own types offer for a parameter."""

from __future__ import annotations

import collections.abc
import types
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
)

from typing_extensions import get_type_hints, is_typeddict

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK: Final = "marked-by-the-agent"
"""Stands wherever any text may stand."""
_DEEPEST: Final = 6
_WRAPPED: Final = (Required, NotRequired, Annotated)
_LISTS: Final = (list, collections.abc.Iterable, collections.abc.Sequence)
_PLAIN: Final[dict[Any, tuple[Any, ...]]] = {
    str: (MARK,),
    object: (MARK,),
    int: (1,),
    float: (0.5,),
    bool: (True, False),
}


def parameters(offered: Any) -> dict[str, Any]:
    """Return the parameters of a call and what each may be, as the SDK's types say."""
    return get_type_hints(offered, include_extras=True)


def variants(kind: Any, depth: int = 0) -> Iterator[Any]:
    """Yield one value for each member of each union, with the members of objects that are required."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in _WRAPPED:
        yield from variants(inner[0], depth)
    elif origin is Literal:
        yield from inner
    elif origin in (Union, types.UnionType):
        for each in inner:
            yield from variants(each, depth)
    elif origin in _LISTS:
        yield from ([each] for each in variants(inner[0], depth + 1))
    elif origin in (dict, collections.abc.Mapping):
        yield {MARK: next(variants(inner[1], depth + 1))}
    elif is_typeddict(kind) and depth <= _DEEPEST:
        yield from _objects(kind, depth)
    else:
        yield from _PLAIN.get(kind, ())


def _objects(kind: Any, depth: int) -> Iterator[dict[str, Any]]:
    made = {}
    for name, hint in parameters(kind).items():
        wrapped = get_origin(hint)
        if wrapped is Required or (kind.__total__ and wrapped is not NotRequired):
            first = next(variants(hint, depth + 1), None)
            if first is None:
                return  # it holds itself, without end
            made[name] = first
    yield made


def label(value: Any) -> str:
    """Return what a variant is called: by its type or role, its members, or itself."""
    if isinstance(value, list):
        return f"[{', '.join(map(label, value))}]"
    if isinstance(value, dict):
        return str(value.get("type") or value.get("role") or "+".join(sorted(value)) or "{}")
    return "text" if value == MARK else str(value)
