from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.commands import ValuePattern
from policies.containment import Work, glob_steps, lies_within, url_steps, value_steps, witness
from policies.globs import Glob
from policies.urls import UrlPath

URLS = st.lists(st.sampled_from(["a", "b", "*", "a*", "**", "*b"]), min_size=1, max_size=4).map(
    lambda names: "/" + "/".join(names)
)
GLOBS = (
    st.lists(st.sampled_from(["a", "b", "*", "a*", "**", "?"]), min_size=1, max_size=4)
    .map("/".join)
    .filter(lambda text: set(text.split("/")) != {"**"})
)
VALUES = st.text(alphabet="ab*", min_size=1, max_size=6).filter(lambda text: text.strip("*"))


@given(URLS, st.lists(URLS, max_size=3))
def test_a_witness_of_url_paths_is_meant_inside_and_nowhere_outside(inner: str, outer: list[str]) -> None:
    found = witness(url_steps(inner), [url_steps(text) for text in outer], of="url")

    if found is not None:
        assert UrlPath.parse(inner).matches(found)
        assert not any(UrlPath.parse(text).matches(found) for text in outer)


@settings(max_examples=60)
@given(URLS, st.lists(URLS, max_size=2), st.lists(st.sampled_from(["a", "b", "ab", "x", ""]), max_size=4))
def test_without_a_witness_everything_meant_inside_is_meant_outside(
    inner: str, outer: list[str], names: list[str]
) -> None:
    if witness(url_steps(inner), [url_steps(text) for text in outer], of="url") is None:
        path = "/" + "/".join(names)
        assert not UrlPath.parse(inner).matches(path) or any(
            UrlPath.parse(text).matches(path) for text in outer
        )


@given(GLOBS, st.lists(GLOBS, max_size=3))
def test_a_witness_of_globs_is_meant_inside_and_nowhere_outside(inner: str, outer: list[str]) -> None:
    found = witness(glob_steps(inner), [glob_steps(text) for text in outer], of="path")

    if found is not None:
        path = found.removeprefix("/")
        assert Glob.parse(inner).matches(path)
        assert not any(Glob.parse(text).matches(path) for text in outer)


@given(VALUES, st.lists(VALUES, max_size=3))
def test_a_witness_of_values_is_meant_inside_and_nowhere_outside(inner: str, outer: list[str]) -> None:
    found = witness(value_steps(inner), [value_steps(text) for text in outer])

    if found is not None:
        assert ValuePattern.parse(inner).matches(found)
        assert not any(ValuePattern.parse(text).matches(found) for text in outer)


@pytest.mark.parametrize(
    ("inner", "outer", "contained"),
    [
        ("/repos/acme/**", ["/repos/**"], True),
        ("/repos/**", ["/repos/acme/**"], False),
        ("/a/*", ["/a/b*", "/a/*"], True),
        ("/**", ["/", "/*/**"], True),
        ("/a", [], False),
    ],
)
def test_known_containments(inner: str, outer: list[str], contained: bool) -> None:  # noqa: FBT001 - a column of the table
    assert (witness(url_steps(inner), [url_steps(text) for text in outer], of="url") is None) is contained


def test_a_walk_that_is_cut_short_counts_as_not_contained() -> None:
    outer = [value_steps("*a" + "".join(f"{letter}*" for letter in "bcdefgh" * 4) + end) for end in "ijklmn"]
    inner = value_steps("*")

    assert witness(inner, outer) is not None
    assert witness(value_steps("*" + "a*b" * 40), [value_steps("*")]) is None


def test_many_hard_comparisons_share_one_budget_and_what_it_does_not_reach_is_not_proved() -> None:
    outer = [value_steps("*a*" + "*".join("bcdefgh" * 3) + end) for end in "ijklmnopq"]
    work = Work(left=50_000)

    found = [witness(value_steps("*" + "a*b" * 30 + str(k)), outer, work=work) for k in range(60)]

    assert None not in found
    assert -10_000 < work.left <= 0
    assert not lies_within(value_steps("a*"), [value_steps("a*")], work=Work(left=0))


def test_twin_what_the_budget_reaches_is_proved_and_paid_for() -> None:
    work = Work()

    assert lies_within(value_steps("ab*"), [value_steps("a*")], work=work)
    assert 0 < Work().left - work.left < 1000
