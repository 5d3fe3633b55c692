from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.errors import BadValueError
from policies.hosts import HostPattern, canonical_host, shared_reason
from policies.urls import Target, UrlPath, canonical_url, canonical_url_path


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("api.example.com", "api.example.com", True),
        ("api.example.com", "xapi.example.com", False),
        ("api.example.com", "api.example.com.evil.com", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*.example.com", "a.example.com.evil.com", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("::1", "::1", True),
        ("API.Example.COM", "api.example.com", True),
    ],
)
def test_hosts_match_whole_names_on_the_border_of_a_label(pattern: str, host: str, expected: bool) -> None:  # noqa: FBT001 - a column of the table
    assert HostPattern.parse(pattern).matches(host) is expected


@pytest.mark.parametrize(
    "text",
    [
        "*", "*.", "*.com", "*.co.uk", "*.github.io", "*.s3.amazonaws.com", "*.1.2.3.4", "a.*.com", "*a.com",
        "https://a.com", "a.com/x", "a.com:443", "user@a.com", "a b.com", "a..com", "-a.com", "a\0.com", "",
        "127.1", "0x7f.1", "2130706433", "1.2.3", "b\u00fccher.de", "\u0430pple.com", "::ffff:127.0.0.1",
        "fe80::1%eth0", "a.com%2e", "a\\b.com", "*.*.com",
    ],
)  # fmt: skip
def test_a_host_that_is_too_wide_or_no_host_is_refused(text: str) -> None:
    with pytest.raises(BadValueError):
        HostPattern.parse(text)


def test_a_trailing_dot_and_capitals_are_the_same_host() -> None:
    assert canonical_host("API.Example.com.") == "api.example.com"


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("a.com", "a.com", "a.com"),
        ("*.a.com", "x.a.com", "x.a.com"),
        ("x.a.com", "*.a.com", "x.a.com"),
        ("*.a.com", "*.b.a.com", "*.b.a.com"),
        ("*.a.com", "a.com", None),
        ("*.a.com", "*.xa.com", None),
        ("a.com", "b.com", None),
    ],
)
def test_two_patterns_have_one_widest_common_pattern(first: str, second: str, both: str | None) -> None:
    met = HostPattern.parse(first).meet(HostPattern.parse(second))

    assert (met.text if met else None) == both


def test_hosts_where_anyone_can_post_are_known() -> None:
    assert (
        shared_reason(HostPattern.parse("api.github.com"))
        == "anyone may own a repository, gist or issue there"
    )
    assert shared_reason(HostPattern.parse("me.workers.dev")) == "anyone may own a worker"
    assert shared_reason(HostPattern.parse("bucket.s3.amazonaws.com")) == "anyone may own a bucket"
    assert shared_reason(HostPattern.parse("me.netlify.app")) == "anyone may own a name there"
    assert shared_reason(HostPattern.parse("api.internal.example")) is None


def test_a_url_has_one_form() -> None:
    assert canonical_url("HTTPS://Api.Example.com/a%2Db/%c3%a9?q=1#f") == Target(
        "https", "api.example.com", 443, "/a-b/%C3%A9"
    )
    assert canonical_url("http://[::1]:8080") == Target("http", "::1", 8080, "/")


@pytest.mark.parametrize(
    "url",
    [
        "https://ok.com@evil.com/", "https://user:pw@ok.com/", "ftp://ok.com/", "ok.com", "//ok.com/", "https:///x",
        "https://ok.com\\@evil.com/", "https://ok.com:0/", "https://ok.com:99999/", "https://ok.com:x/",
        "https://ok.com/a b", "https://ok.com/\n", "https://ok%2ecom/", "https://ok.com/%2e%2e/x", "https://ok.com/a//b",
        "https://ok.com/a;b", "https://ok.com/../x", "https://ok.com/%252e", "https://ok.com/%00", "https://ok.com/%zz",
        "https://b\u00fccher.de/", "https://127.1/", "", "javascript:alert(1)", "https://[::ffff:127.0.0.1]/",
    ],
)  # fmt: skip
def test_a_url_that_can_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(BadValueError):
        canonical_url(url)


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/", "/", True),
        ("/**", "/", True),
        ("/**", "/a/b", True),
        ("/repos/acme/**", "/repos/acme", True),
        ("/repos/acme/**", "/repos/acme/x/y", True),
        ("/repos/acme/**", "/repos/acmex", False),
        ("/repos/*/issues", "/repos/a/issues", True),
        ("/repos/*/issues", "/repos/a/b/issues", False),
        ("/a/**/z", "/a/z", True),
        ("/a/**/z", "/a/b/c/z", True),
        ("/a/**/b/**/z", "/a/1/b/2/z", True),
        ("/a/**/b/**/z", "/a/1/2/z", False),
        ("/v1/vulns/*", "/v1/vulns/", True),
        ("/A", "/a", False),
    ],
)
def test_paths_match_whole_and_keep_their_case(pattern: str, path: str, expected: bool) -> None:  # noqa: FBT001 - a column of the table
    assert UrlPath.parse(pattern).matches(path) is expected


@pytest.mark.parametrize(
    "text", ["repos", "/a?b", "/a#b", "/a//b", "/a/../b", "/a**/b", "/%2e", "/a b", "/%41"]
)
def test_a_path_pattern_that_is_not_plain_is_refused(text: str) -> None:
    with pytest.raises(BadValueError):
        UrlPath.parse(text)


@given(st.text(alphabet="ab%2e/.;\\", max_size=12))
def test_a_canonical_path_stays_as_it_is(text: str) -> None:
    try:
        once = canonical_url_path("/" + text)
    except BadValueError:
        return

    assert canonical_url_path(once) == once
    assert "/../" not in once + "/"
