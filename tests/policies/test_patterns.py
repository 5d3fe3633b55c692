# ruff: noqa: E501 - lists of names, several on each line
"""Patterns have no state without their meaning: however one is made, it is read, or refused."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from policies.commands import CommandPattern, ValuePattern
from policies.errors import BadValueError
from policies.globs import Glob, GlobSet
from policies.hosts import HostPattern, is_public_suffix, shared_reason
from policies.public_suffixes import spans_owners
from policies.urls import UrlPath

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (Glob, ""),
        (Glob, "**"),
        (Glob, "/etc"),
        (Glob, "a/../b"),
        (CommandPattern, ""),
        (CommandPattern, "*"),
        (CommandPattern, "files  read"),
        (CommandPattern, "Files"),
        (ValuePattern, ""),
        (ValuePattern, "*"),
        (ValuePattern, "***"),
        (HostPattern, ""),
        (HostPattern, "*"),
        (HostPattern, "*.com"),
        (HostPattern, "*.co.uk"),
        (HostPattern, "https://a.com"),
        (HostPattern, "a.*.com"),
        (HostPattern, "*.10.0.0.1"),
        (UrlPath, ""),
        (UrlPath, "a"),
        (UrlPath, "/a/../b"),
        (UrlPath, "/a**"),
        (UrlPath, "/a?b"),
        (UrlPath, "/" + "a" * 512),
    ],
)
def test_a_pattern_without_a_meaning_cannot_be_made(make: Callable[[str], object], text: str) -> None:
    with pytest.raises(BadValueError):
        make(text)


def test_a_pattern_means_the_same_however_it_is_made() -> None:
    assert Glob("x") == Glob.parse("x")
    assert not Glob("x").matches("y")
    assert GlobSet([Glob("x")]).find("y") is None
    assert Glob("x").matches("d/x/y")
    assert CommandPattern("files *").matches(("files", "read"))
    assert not CommandPattern("files read").matches(())
    assert not ValuePattern("a").matches("b")
    assert HostPattern("A.Example.COM.") == HostPattern.parse("a.example.com")
    assert not HostPattern("*.Example.com").matches("example.com")
    assert UrlPath("/a/*").matches("/a/b")


@pytest.mark.parametrize(
    "name",
    ["com", "co.uk", "com.au", "kawasaki.jp", "ck", "a.ck", "github.io", "s3.amazonaws.com", "amazonaws.com",
     "compute.amazonaws.com", "googleapis.com", "windows.net", "blob.core.windows.net", "pages.dev", "internal", "no-such-top-level",
     "xn--fiqs8s", "xn--55qx5d.cn", "slack.com", "sharepoint.com"],
)  # fmt: skip
def test_a_wildcard_never_spans_owners(name: str) -> None:
    assert is_public_suffix(name)
    with pytest.raises(BadValueError, match="too wide"):
        HostPattern.parse(f"*.{name}")


@pytest.mark.parametrize("top", ["xn--99999999", "xn--a", "xn--zzzzzz", "xn--" + "9" * 59])
def test_a_top_level_name_that_encodes_no_letters_is_one_that_is_not_known(top: str) -> None:
    assert spans_owners(top)
    assert not spans_owners(f"a.{top}")
    assert HostPattern.parse(f"*.a.{top}").text == f"*.a.{top}"


def test_twin_a_top_level_name_that_encodes_letters_is_found_in_the_list() -> None:
    assert spans_owners("xn--12co0c3b4eva.xn--o3cw4h")
    assert not spans_owners("a.xn--12co0c3b4eva.xn--o3cw4h")


@pytest.mark.parametrize(
    "name", ["example.com", "example.co.uk", "www.ck", "city.kawasaki.jp", "acme.github.io", "corp.internal", "bucket.s3.amazonaws.com"]
)  # fmt: skip
def test_twin_a_wildcard_below_one_owners_name_is_read(name: str) -> None:
    assert HostPattern.parse(f"*.{name}").matches(f"x.{name}")


def test_our_own_list_of_suffixes_repeats_nothing_of_the_public_one() -> None:
    text = resources.files("policies").joinpath("data", "hosts.toml").read_text(encoding="utf-8")

    assert [name for name in tomllib.loads(text)["suffixes"] if spans_owners(name)] == []


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("api.github.com", "anyone may own a repository, gist or issue there"),
        ("*.github.com", "anyone may own a repository, gist or issue there"),
        ("some.npmjs.org", "anyone may publish a package"),
        ("npmjs.org", None),
        ("x.y.workers.dev", "anyone may own a worker"),
        ("acme.pages.dev", "anyone may own a name there"),
        ("acme.zendesk.com", "anyone may own a name there"),
        ("example.com", None),
        ("api.example.co.uk", None),
    ],
)
def test_hosts_where_anyone_can_post_are_known(host: str, why: str | None) -> None:
    assert shared_reason(HostPattern.parse(host)) == why
