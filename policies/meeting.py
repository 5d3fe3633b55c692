"""What two lists of patterns have in common, and the stricter of two settings: what joining is made of.

Allowlists are sets of patterns in which every two have at most one widest common pattern. A joined list holds
the common patterns of each pair, without those that another of them covers: so the result does not depend on
how, or in what order, lists are joined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pydantic import BaseModel

    from policies.leaves import RuntimeName

Item = TypeVar("Item")
Model = TypeVar("Model", bound="BaseModel")
ACCESS: Final[tuple[Literal["read", "stage", "direct"], ...]] = ("read", "stage", "direct")
RUNTIMES: Final[tuple[RuntimeName, ...]] = ("gvisor", "runc", "default")


def least(model: type[Model], first: Model, second: Model) -> Model:
    """Take the smaller of each number of two blocks.

    Args:
        model: The blocks' type, of numbers only.
        first: One block.
        second: The other.

    Returns:
        A block of the smaller numbers.
    """
    return model(**{name: min(getattr(first, name), getattr(second, name)) for name in model.model_fields})


def pairwise(
    first: Iterable[Item], second: Iterable[Item], meet: Callable[[Item, Item], Item | None]
) -> tuple[Item, ...]:
    """Keep what two lists have in common.

    Args:
        first: One list.
        second: The other.
        meet: The widest common pattern of two, or None.

    Returns:
        The common patterns, without those that another one covers, each once.
    """
    others = tuple(second)
    return widest((both for one in first for other in others if (both := meet(one, other)) is not None), meet)


def widest(items: Iterable[Item], meet: Callable[[Item, Item], Item | None]) -> tuple[Item, ...]:
    """Leave out what another item covers.

    Args:
        items: Patterns.
        meet: The widest common pattern of two, or None.

    Returns:
        The patterns that none of the others covers, each once.
    """
    return uncovered(items, lambda other, item: meet(item, other) == item)


def uncovered(items: Iterable[Item], covers: Callable[[Item, Item], bool]) -> tuple[Item, ...]:
    """Leave out what another item covers.

    Args:
        items: Patterns.
        covers: Whether the first of two covers the second.

    Returns:
        The patterns that none of the others covers, each once.
    """
    kept: list[Item] = []
    for item in items:
        if any(covers(other, item) for other in kept):
            continue
        kept = [other for other in kept if not covers(item, other)]
        kept.append(item)
    return tuple(kept)


def union(*lists: Iterable[Item]) -> tuple[Item, ...]:
    """Keep everything that any list has, each once.

    Args:
        *lists: The lists.

    Returns:
        The items in the order of their first appearance.
    """
    return tuple(dict.fromkeys(item for items in lists for item in items))


def strictest(order: Sequence[Item], one: Item, other: Item) -> Item:
    """Take the stricter of two words.

    Args:
        order: The words, the strictest first.
        one: One of them.
        other: Another, or the same.

    Returns:
        The one that comes first.
    """
    return min(one, other, key=order.index)
