"""Align two rows of things, in a time that stays near their length however often a thing is repeated."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher

_FEW = 1_000_000
"""Pairs up to which every repetition is weighed against every other: a second of work at most."""

Pair = tuple[int, int]


def aligned(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[Pair]:
    """Return which places of two rows hold the same: (place in the first, place in the second), both rising.

    Short rows are aligned in their longest common runs. In long ones the n-th time that a thing occurs
    answers the n-th time in the other row, and as many of these pairs are kept as rise: an agent that does
    one thing ten thousand times makes no comparison that takes a day.

    Args:
        first: One row.
        second: The other.
    """
    begin = _common(zip(first, second, strict=False))
    rest = min(len(first), len(second)) - begin
    end = min(rest, _common(zip(reversed(first), reversed(second), strict=False)))
    ours, theirs = first[begin : len(first) - end], second[begin : len(second) - end]
    few = len(ours) * len(theirs) <= _FEW
    middle = _in_runs(ours, theirs) if few else _by_occurrence(ours, theirs)
    return [
        *((place, place) for place in range(begin)),
        *((one + begin, other + begin) for one, other in middle),
        *((len(first) - back, len(second) - back) for back in range(end, 0, -1)),
    ]


def _common(pairs: Iterator[tuple[Hashable, Hashable]]) -> int:
    """Return how many pairs are of the same, up to the first that is not."""
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count


def _in_runs(first: Sequence[Hashable], second: Sequence[Hashable]) -> Iterator[Pair]:
    for start, other, length in SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks():
        yield from ((start + step, other + step) for step in range(length))


def _by_occurrence(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[Pair]:
    places = {thing: place for place, thing in enumerate(_numbered(second))}
    pairs = [(place, places[thing]) for place, thing in enumerate(_numbered(first)) if thing in places]
    return _rising(pairs)


def _numbered(row: Sequence[Hashable]) -> Iterator[tuple[Hashable, int]]:
    """Yield each thing with how often it occurred before."""
    seen: Counter[Hashable] = Counter()
    for thing in row:
        yield thing, seen[thing]
        seen[thing] += 1


def _rising(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the longest choice of pairs whose second numbers rise; the first ones do already."""
    ends: list[int] = []
    """The pair that ends the best choice of each length."""
    least: list[int] = []
    before: list[int] = []
    for number, (_, other) in enumerate(pairs):
        length = bisect_left(least, other)
        before.append(ends[length - 1] if length else -1)
        ends[length : length + 1] = [number]
        least[length : length + 1] = [other]
    chosen: list[Pair] = []
    number = ends[-1] if ends else -1
    while number >= 0:
        chosen.append(pairs[number])
        number = before[number]
    return chosen[::-1]
