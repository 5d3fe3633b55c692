"""No name or URL that is allowed here is dialled elsewhere by another parser (differential fuzzing)."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import unquote

import idna
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policies.errors import BadValueError
from policies.hosts import canonical_host, is_address
from policies.urls import Target, canonical_url
from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.proxy import _authority
from tests.attacks.other_parsers import PARSERS, Place

HOSTS = "a.example evil.com 127.0.0.1 127.1 0x7f.1 2130706433 [::1] [::ffff:1.2.3.4] ::1 xn--a A user:pw@"
MARKS = "@ : / // ? # \\ . .. % %00 %2e %40 %23 ; & = [ ] - _ 80 443 :80 :0"
UNSEEN = ("\t", "\r\n", " ", "\0", "\u3002", "\uff0e", "\u00ad", "\u2100", "\u00df", "\u00e9")
PIECES = (*HOSTS.split(), *MARKS.split(), *UNSEEN)
texts = st.lists(st.sampled_from(PIECES), max_size=7).map("".join)


def ours(text: str) -> Target | None:
    try:
        return canonical_url(text)
    except BadValueError:
        return None


def check_that_all_go_where_we_think(text: str) -> None:
    """Refuse a text, or find that each other parser refuses it or goes to the same place."""
    target = ours(text)
    if target is None:
        return
    for name, goes_to in PARSERS.items():
        place = goes_to(text)
        if place is None:
            continue  # it dials nothing
        assert (place.host, place.port) == (target.host, target.port), (name, text)
        assert unquote(place.path) == unquote(target.path), (name, text)  # some encode `[` and the like


SCHEMES = st.sampled_from(["http://", "https://", "HTTP://", "http:/", "http:", "//", ""])
AUTHORITIES = st.one_of(
    texts,
    st.tuples(
        st.sampled_from(["", "u@", "u:p@", "@", "%40", "a.example\\@", "[", "[::1]"]),
        st.sampled_from(
            ["a.example", "evil.com", "127.1", "[::ffff:7f00:1]", "[fe80::1%25lo]", "xn--bcher-kva.example"]
        ),
        st.sampled_from(
            ["", ".", ":80", ":", ":080", ":65536", ":0", "..", "\t", "%2e", "#@evil.com", "?@evil.com"]
        ),
        st.sampled_from(
            ["", "/", "/a/../b", "/%2e%2e/x", "//x", "/;x", "/a%2Fb", "/\\x", "/%41~%7e", "?q=/..", "#/../x"]
        ),
    ).map("".join),
    st.text(alphabet=st.characters(max_codepoint=0x3100), max_size=16),
)
CORPUS = (
    "http://a.example@evil.com", "http://a.example\\@evil.com", "http://evil.com#@a.example", "http://[::1]evil.com",
    "http://a.example:80:443", "http://a.example:80@evil.com/", "http://a.example%00.evil.com/", "http://a.example%2f@evil.com",
    "http://a.example\t.evil.com", "http://a.example;evil.com", "http://0x7f.1/", "http://2130706433/", "http://127.1/",
    "http://0177.0.0.1/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::127.0.0.1]/",
    "http://a.example./",
    "http://A.EXAMPLE/", "http://\uff41.example/", "http://a\u3002example/", "http://a.example:0443/",
    "https:a.example", "https:///a.example", "http:////a.example", "http://a.example?@evil.com", "http://a_b.example/",
    "http://-a.example/",
    "http://1.2.3.4.5/", "http://1.2.3.4./", "http://a.example/%7Euser/%41", "http://a.example/x%", "http://a.example/[x]",
    "http://xn--fa-hia.example/", "http://fa\u00df.example/", "http://[v1.x]/", "http://[::1]:80/", "http://[0:0:0:0:0:0:0:1]/",
)  # fmt: skip


@pytest.mark.parametrize("text", CORPUS)
def test_a_url_of_the_corpus_is_refused_or_goes_to_the_same_place_everywhere(text: str) -> None:
    check_that_all_go_where_we_think(text)


@settings(max_examples=300)
@given(SCHEMES, AUTHORITIES)
def test_a_url_that_we_allow_goes_to_the_same_place_in_other_parsers(scheme: str, rest: str) -> None:
    """curl, httpx, urllib, urllib3 (requests, pip) and yarl (aiohttp)."""
    check_that_all_go_where_we_think(scheme + rest)


@settings(max_examples=10_000)
@given(SCHEMES, AUTHORITIES)
@pytest.mark.long
def test_many_urls_that_we_allow_go_to_the_same_place_in_other_parsers(scheme: str, rest: str) -> None:
    check_that_all_go_where_we_think(scheme + rest)


@settings(max_examples=300)
@given(AUTHORITIES)
def test_the_target_of_a_connect_leads_where_each_parser_of_urls_would_go(text: str) -> None:
    """What a tunnel is opened to is what a client that wrote these words would have dialled."""
    raw = f"CONNECT {text} HTTP/1.1\r\nHost: {text}\r\n\r\n".encode("utf-8", "surrogatepass")
    try:
        host, port = _authority(raw)
    except EgressDeniedError:
        return
    for name, goes_to in PARSERS.items():
        if (place := goes_to(f"https://{text}")) is not None:
            assert (place.host, place.port) == (host, port), (name, text)


def test_each_of_the_other_parsers_reads_an_ordinary_url() -> None:
    """Else they could agree by refusing everything."""
    text = "https://API.example.com:8443/a/b?c=d#e"

    assert ours(text) == Target("https", "api.example.com", 8443, "/a/b")
    for name, goes_to in PARSERS.items():
        assert goes_to(text) == Place("api.example.com", 8443, "/a/b"), name


@settings(max_examples=400)
@given(texts | st.text(alphabet=st.characters(max_codepoint=0x3100), max_size=12))
@example("0x7f000001")
@example("1.2.3")
@example("017700000001")
@example("1.2.3.4.")
def test_a_name_that_we_allow_is_no_address_to_the_c_library(text: str) -> None:
    """`inet_aton` reads `127.1` and `0x7f.1` as addresses; here they are addresses too, or refused."""
    try:
        name = canonical_host(text)
    except BadValueError:
        return
    if is_address(name):
        assert str(ipaddress.ip_address(name)) == name
        return
    with pytest.raises(OSError):  # noqa: PT011 - its own words differ
        socket.inet_aton(name)
    assert name.isascii()
    assert not set(name) & set("\0\r\n\t @:/\\%?#[]")


@given(st.text(alphabet="abcxyz-\u00e9\u00df\u00fc\u0430\u65e5\u672c\u3002\uff0e", min_size=1, max_size=10))
def test_an_international_name_is_never_guessed(label: str) -> None:
    """IDNA 2003 and 2008 map `ß` differently, so only the ASCII form is a name here."""
    text = f"{label}.example"
    try:
        name = canonical_host(text)
    except BadValueError:
        return
    assert text.isascii()
    try:
        encoded = idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        return
    assert encoded == name
