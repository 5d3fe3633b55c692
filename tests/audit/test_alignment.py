"""Two sessions are aligned well when they are short, and in bounded time when they are long."""

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import alignment
from audit.alignment import aligned

Row = list[str]
ROWS = st.lists(st.sampled_from("abcd"), max_size=12)


def holds(pairs: Sequence[tuple[int, int]], first: Row, second: Row) -> bool:
    """Tell whether pairs are of the same things, and rise in both rows."""
    rises = all(one[0] < two[0] and one[1] < two[1] for one, two in pairwise(pairs))
    return rises and all(first[one] == second[other] for one, other in pairs)


@given(first=ROWS, second=ROWS)
def test_what_is_aligned_is_the_same_and_in_order(first: Row, second: Row) -> None:
    assert holds(aligned(first, second), first, second)


@given(row=ROWS)
def test_a_row_answers_itself_wholly(row: Row) -> None:
    assert aligned(row, row) == [(place, place) for place in range(len(row))]


@pytest.mark.parametrize("few", [0, 1_000_000], ids=["long", "short"])
@pytest.mark.parametrize(
    ("first", "second", "pairs"),
    [
        ("", "", []),
        ("abc", "", []),
        ("abc", "xyz", []),
        ("abc", "axc", [(0, 0), (2, 2)]),
        ("abc", "abxc", [(0, 0), (1, 1), (2, 3)]),
        ("abcd", "bcd", [(1, 0), (2, 1), (3, 2)]),
        ("xaby", "zabw", [(1, 1), (2, 2)]),
        ("aab", "ab", [(0, 0), (2, 1)]),
        ("aa", "a", [(0, 0)]),
        ("xabcy", "zcabw", [(1, 2), (2, 3)]),
    ],
)
def test_short_and_long_rows_are_aligned_alike(
    monkeypatch: pytest.MonkeyPatch, few: int, first: str, second: str, pairs: list[tuple[int, int]]
) -> None:
    monkeypatch.setattr(alignment, "_FEW", few)

    assert aligned(first, second) == pairs


@pytest.mark.parametrize(("kinds", "least"), [(1, 9_000), (3, 3_000), (40_000, 8_000)])
def test_thousands_of_repetitions_are_aligned_at_once(kinds: int, least: int) -> None:
    """Quadratic work over these would be a minute and more for each."""
    chance = random.Random(7)  # noqa: S311 - a test's own chance, the same each time
    first = [str(chance.randrange(kinds)) for _ in range(20_000)]
    second = [f"only {place}" if place % 2 else thing for place, thing in enumerate(["x", *first, "y"])]

    assert holds(pairs := aligned(first, second), first, second)
    assert len(pairs) >= least
