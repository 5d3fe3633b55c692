"""Destinations in their one form: what is none, what only looks like one, and what stands whole in a text."""

from __future__ import annotations

import pytest

from policies.errors import BadValueError
from policies.sinks import LONGEST_SINK, canonical_sink, each_value, named_in, url_named_in
from policies.urls import canonical_url


def _nested(depth: int) -> object:
    value: object = "x"
    for _ in range(depth):
        value = (value,)
    return value


def _refused(value: object, kind: str = "") -> tuple[str, str]:
    read = (lambda: canonical_sink(kind, value)) if kind else (lambda: list(each_value(value)))  # type: ignore[arg-type]  # test data
    with pytest.raises(BadValueError) as refused:
        read()
    return refused.value.message, refused.value.hint


def test_values_are_found_eight_lists_deep_and_no_deeper() -> None:
    assert list(each_value(_nested(8))) == ["x"]  # type: ignore[arg-type]  # test data
    assert _refused(_nested(9)) == ("values are nested deeper than 8", "a plain list")


def test_each_kind_of_value_is_a_text_and_another_kind_is_refused() -> None:
    assert list(each_value((True, False, None, 1, 2.5, ["a", ("b",)]))) == [
        "true",
        "false",
        "1",
        "2.5",
        "a",
        "b",
    ]
    assert _refused({"to": "eve"}) == ("a value is of the kind `dict`", "texts, numbers and lists")


@pytest.mark.parametrize("value", ["", "a\u200bb", "a\nb", "a" * (LONGEST_SINK + 1)])
def test_what_is_empty_unseen_or_too_long_is_no_destination(value: str) -> None:
    message, _ = _refused(value, "text")

    assert message.endswith("` is not one destination")
    assert message.startswith("`" + value[:1].replace("\n", "\\"))


def test_twin_the_longest_destination_is_one() -> None:
    assert canonical_sink("text", "a" * LONGEST_SINK) == "a" * LONGEST_SINK


@pytest.mark.parametrize(
    "value", ["eve", "@b.com", "a@b@c.com", "\u212aate@b.com", "k\u00e4te@b.com", "a b@c.com", "<a@b.com>"]
)
def test_what_is_not_exactly_one_address_is_refused(value: str) -> None:
    assert _refused(value, "address") == (
        f"`{value}` is not one address",
        "as in `name@example.com`, without a display name or a route",
    )


@pytest.mark.parametrize("value", ["", "#", "#a b", "#\u212ai", "#a,#b", "##a"])
def test_what_is_not_exactly_one_channel_is_refused(value: str) -> None:
    if value:
        assert _refused(value, "channel") == (f"`{value}` is not one channel", "as in `#ci`")
    else:
        assert _refused(value, "channel") == ("`` is not one destination", "")


def test_a_letter_that_becomes_a_plain_one_in_small_is_another_letter() -> None:
    """The Kelvin sign in small letters is a k."""
    assert "\u212a".lower() == "k"
    assert canonical_sink("channel", "#KI") == canonical_sink("channel", "ki") == "#ki"
    assert not named_in("post to #\u212ai", "channel", "#ki")
    assert not named_in("mail \u212a@b.com", "address", "k@b.com")


@pytest.mark.parametrize(
    ("task", "kind", "value", "stands"),
    [
        ("ask Xray about it", "channel", "#xray", False),
        ("ask #xray about it", "channel", "#xray", True),
        ("for abc, please", "account", "abc", True),
        ("for ab, please", "account", "ab", False),
        ("acme: see acme-eu", "account", "acme", True),
        ("xacme acme acmex", "account", "acme", True),
        ("xacme acmex", "account", "acme", False),
        ("see acme-eu", "account", "acme", False),
    ],
)
def test_a_destination_stands_whole_wherever_it_stands(
    task: str,
    kind: str,
    value: str,
    stands: bool,  # noqa: FBT001 - a column of a table
) -> None:
    assert named_in(task, kind, value) is stands  # type: ignore[arg-type]  # test data


@pytest.mark.parametrize(
    ("task", "stands"),
    [
        ("call http://a.com/x", True),
        ("call HTTP://A.com/x", True),
        ("call https://a.com/x", False),
        ("not https://[bad but http://a.com/x", True),
        ("not http://b.com/ but http://a.com/x", True),
        ("call http://b.com/,http://a.com/x", False),
        ("", False),
        (None, False),
    ],
)
def test_a_url_stands_whole_after_others_and_after_what_is_none(task: str | None, stands: bool) -> None:  # noqa: FBT001 - a column of a table
    assert url_named_in(task, canonical_url("http://a.com/x"), with_path=True) is stands


@pytest.mark.parametrize("path", ["/@types%2fnode", "/@types%2Fnode"])
def test_a_package_with_a_scope_that_the_task_names_is_named_as_npm_asks_for_it(path: str) -> None:
    target = canonical_url(f"https://a.com{path}", method="GET")

    assert url_named_in(f"get https://a.com{path}.", target, with_path=True)
    assert not url_named_in(f"get https://a.com{path}", canonical_url("https://b.com/"), with_path=False)
    assert not url_named_in("get https://a.com/a%2f%2fb", target, with_path=False)
