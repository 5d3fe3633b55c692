"""No name or URL that is allowed here is dialled elsewhere by another parser (differential fuzzing)."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import idna
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from policies.errors import BadValueError
from policies.hosts import canonical_host, is_address
from policies.urls import Target, canonical_url

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


@settings(max_examples=1500)
@given(st.sampled_from(["http://", "https://", "HTTP://", "http:/", "http:", "//", ""]), texts)
@example("http://", "a.example@evil.com")
@example("http://", "a.example\\@evil.com")
@example("http://", "evil.com#@a.example")
@example("http://", "[::1]evil.com")
@example("http://", "a.example:80:443")
@pytest.mark.long
def test_a_url_that_we_allow_goes_to_the_same_place_in_other_parsers(scheme: str, rest: str) -> None:
    target = ours(scheme + rest)
    if target is None:
        return
    try:
        theirs = parse_url(scheme + rest)
    except LocationParseError:
        return  # they dial nothing
    name = (theirs.host or "").removeprefix("[").removesuffix("]").removesuffix(".").lower()
    port = theirs.port or {"http": 80, "https": 443}[target.scheme]
    assert (_plain(name), port) == (target.host, target.port)
    assert theirs.auth is None
    assert urlsplit(scheme + rest).hostname is not None


def _plain(name: str) -> str:
    return str(ipaddress.ip_address(name)) if is_address(name) else name


@settings(max_examples=1500)
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
