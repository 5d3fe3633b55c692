"""Two sessions are compared in parts, so that memory does not grow: no action is lost, none is told twice."""

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audit import compare
from audit.compare import Action, Difference, differences

ROWS = st.lists(st.sampled_from("abc"), max_size=30)


def actions(row: str, *, denied: str = "") -> Iterator[Action]:
    for seq, word in enumerate(row):
        yield Action(seq=seq, argv=(word,), verdict="denied" if word in denied else "allowed", codes=())


def parted(first: str, second: str) -> list[Difference]:
    return list(differences(actions(first), actions(second)))


def left(row: str, one_sided: list[Action]) -> str:
    """Return what of a row both did."""
    told = [action.seq for action in one_sided]
    assert told == sorted(set(told))
    return "".join(word for seq, word in enumerate(row) if seq not in told)


@pytest.mark.parametrize("held", [1, 2, 5, 5_000])
@given(first=ROWS, second=ROWS)
@example(first=["a"] * 9, second=["b"] * 30)
@example(first=[], second=["a"] * 30)
def test_what_is_not_told_is_the_same_in_both_and_in_order(
    held: int, first: list[str], second: list[str]
) -> None:
    ours, theirs = "".join(first), "".join(second)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "_MOST_HELD", held)
        found = parted(ours, theirs)

    only_ours = [one.first for one in found if one.first is not None and one.second is None]
    only_theirs = [one.second for one in found if one.second is not None and one.first is None]
    assert left(ours, only_ours) == left(theirs, only_theirs)
    assert len(only_ours) + len(only_theirs) == len(found)


@pytest.mark.parametrize("held", [1, 2, 5, 5_000])
@given(row=ROWS)
def test_a_session_parts_nowhere_from_itself(held: int, row: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "_MOST_HELD", held)
        assert parted("".join(row), "".join(row)) == []


def test_an_insertion_is_told_alone_where_its_surroundings_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "_MOST_HELD", 6)
    many = "".join("abcdefghijklmnopqrstuvwxyz"[number % 26] for number in range(100))

    found = parted(many, f"{many[:50]}XYZ{many[50:]}")

    assert [one.second.argv[0] for one in found if one.second] == ["X", "Y", "Z"]
    assert [one.first for one in found] == [None] * 3


@pytest.mark.parametrize(
    ("before", "both", "behind"),
    [(40, 80, 0), (60, 2, 60), (110, 2, 106), (0, 100, 40)],
    ids=["before as many", "in the middle of what is held", "far behind what is held", "behind as many"],
)
def test_a_session_that_is_held_whole_is_found_in_a_longer_one_from_either_side(
    monkeypatch: pytest.MonkeyPatch, before: int, both: int, behind: int
) -> None:
    monkeypatch.setattr(compare, "_MOST_HELD", 100)
    short = "".join(map(chr, range(0x4E00, 0x4E00 + both)))
    long = "x" * before + short + "y" * behind
    only = [place for place in range(len(long)) if not before <= place < before + both]

    forth, back = parted(short, long), parted(long, short)

    assert [(one.first, one.second and one.second.seq) for one in forth] == [(None, place) for place in only]
    assert [(one.first and one.first.seq, one.second) for one in back] == [(place, None) for place in only]


def test_what_was_decided_otherwise_is_told_in_any_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "_MOST_HELD", 4)

    found = list(differences(actions("aabaacaab", denied="b"), actions("aabaacaab")))

    assert [(one.first and one.first.seq, one.second and one.second.seq) for one in found] == [(2, 2), (8, 8)]


def test_no_more_is_read_ahead_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "_MOST_LETTERS", 10 * 129)

    assert read_ahead(actions("a" * 100)) == 10


@pytest.mark.parametrize(
    ("argv", "codes"),
    [(("",) * 1000, ()), (("a",), ("a" * 64_000,)), (("a" * 64_000,), ())],
    ids=["many empty words", "a long code", "a long word"],
)
def test_however_an_action_is_spelled_it_takes_room(argv: tuple[str, ...], codes: tuple[str, ...]) -> None:
    """An action of 64,000 letters, or of as much room, is held 66 times at most."""
    many = (Action(seq=seq, argv=argv, verdict="allowed", codes=codes) for seq in range(200))

    assert read_ahead(many) == 66


def read_ahead(row: Iterator[Action]) -> int:
    """Return how many actions are read until a first difference to others is told."""
    read: list[int] = []

    def counted() -> Iterator[Action]:
        for action in row:
            read.append(action.seq)
            yield action

    next(differences(counted(), actions("b" * 100)))
    return len(read)
