"""What a glob covers behind symlinks, as pure text."""

from __future__ import annotations

import pytest

from policies.glob_links import EVERYTHING, MOST_GLOBS, all_behind, behind
from policies.globs import Glob


@pytest.mark.parametrize(
    ("glob", "link", "place", "wanted"),
    [
        ("**/.config/mise", "sub/.Config", "x", ["x/mise"]),
        (".config/mise", ".config", "x", ["x/mise"]),
        (".config/mise", "sub/.config", "x", []),
        (".vscode", "a/.vscode", "vs", ["vs/**"]),
        (".vscode", ".vscode/y", "vs/z*", ["vs/z?"]),
        (".vscode", "vscode", "vs", []),
        ("a/**/b", "a/c", "t", ["t/**/b"]),
        ("a/*/b", "a/c", "t", ["t/b"]),
        ("x/foo", "x", "", ["foo/**"]),
        ("x", "x", "", ["**/*"]),
        ("x/y", "x", "d/" * 300 + "e", None),
        ("a/**/" + "x" * 507, "a", "", ["**/*"]),
        ("a/**/" + "x" * 500, "a", "", ["**/" + "x" * 500]),
    ],
)
def test_a_glob_means_at_a_place_what_it_means_at_the_symlink(
    glob: str, link: str, place: str, wanted: list[str] | None
) -> None:
    """A pattern that would be too long means a folder above; one name alone is meant at the root."""
    found = list(behind(Glob(glob), link, (place,)))

    if wanted is None:
        assert [each.matches(f"{place}/y") for each in found] == [True]
    else:
        assert [each.text for each in found] == wanted


def test_any_number_of_symlinks_is_passed_and_circles_end() -> None:
    links = [(".config", ["x"]), ("x/mise", ["y"]), ("y/loop", ["y"]), ("y", ["y"])]

    found = all_behind((Glob("**/.config/mise"),), lambda _: links)

    assert {each.text for each in found} == {"x/mise", "y/**"}


def test_where_there_are_too_many_everything_is_covered() -> None:
    links = [(f".github/{number}", [f"x/{number}"]) for number in range(MOST_GLOBS + 1)]

    assert all_behind((Glob(".github"),), lambda _: links) == (EVERYTHING,)
    assert len(all_behind((Glob(".github"),), lambda _: links[1:])) == MOST_GLOBS
