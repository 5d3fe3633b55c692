"""What is parsed before anything is decided: heads of requests, ClientHellos, masks, pages."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.egress.credentials import Credential, Mask
from sandbox.egress.errors import EgressDeniedError
from sandbox.egress.framing import check_head
from sandbox.egress.hello import ClientHello, check_hello, parse_hello
from sandbox.egress.readable import readable
from sandbox.egress.rendering import rendered

GOOD = b"POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\n"


def hello_of(name: str | None) -> bytes:
    """Return what OpenSSL says first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def of(name: str | None, sent: bytes) -> ClientHello:
    """Return what bytes say that are an open ClientHello and nothing else."""
    return ClientHello(server_name=name, encrypted=False, record_bytes=len(sent))


def with_extension(hello: bytes, kind: int, body: bytes) -> bytes:
    """Append an extension to a ClientHello of one record."""
    extension = kind.to_bytes(2) + len(body).to_bytes(2) + body
    message = hello[5:]
    at = 4 + 34
    at += 1 + message[at]
    at += 2 + int.from_bytes(message[at : at + 2])
    at += 1 + message[at]
    extensions = message[at + 2 :] + extension
    changed = message[4:at] + len(extensions).to_bytes(2) + extensions
    handshake = b"\x01" + len(changed).to_bytes(3) + changed
    return b"\x16\x03\x01" + len(handshake).to_bytes(2) + handshake


def test_a_plain_head_passes() -> None:
    check_head(GOOD)
    check_head(b"GET http://a.example/ HTTP/1.1\r\nhost: a.example\r\nx: \xff\r\n\r\n")
    check_head(b"GET / HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(GOOD.replace(b"3\r\n", b"3\r\nTransfer-Encoding: chunked\r\n"), id="CL.TE"),
        pytest.param(GOOD.replace(b"3\r\n", b"3\r\nContent-Length: 3\r\n"), id="CL.CL"),
        pytest.param(GOOD.replace(b"3\r\n", b"+3\r\n"), id="signed length"),
        pytest.param(GOOD.replace(b"3\r\n", b"3, 3\r\n"), id="listed length"),
        pytest.param(GOOD.replace(b"3\r\n", b"0x3\r\n"), id="hexadecimal length"),
        pytest.param(
            GOOD.replace(b"Content-Length: 3", b"Transfer-Encoding: x, chunked"), id="two encodings"
        ),
        pytest.param(GOOD.replace(b"Content-Length: 3", b"Transfer-Encoding: xchunked"), id="odd encoding"),
        pytest.param(
            GOOD.replace(b"Content-Length: 3", b"Transfer-Encoding : chunked"), id="space before colon"
        ),
        pytest.param(
            GOOD.replace(b"Content-Length: 3", b"Transfer-Encoding: \x0bchunked"), id="vertical tab"
        ),
        pytest.param(GOOD.replace(b": 3", b":\r\n 3"), id="obs-fold"),
        pytest.param(GOOD.replace(b"\r\nContent", b"\nContent"), id="bare LF"),
        pytest.param(GOOD.replace(b"\r\nContent", b"\rContent"), id="bare CR"),
        pytest.param(GOOD.replace(b"a.example", b"a\0.example"), id="NUL"),
        pytest.param(GOOD.replace(b"Host: a.example\r\n", b""), id="no Host"),
        pytest.param(GOOD.replace(b"Host:", b"Host: b\r\nHost:"), id="two Hosts"),
        pytest.param(GOOD.replace(b"POST /x", b"POST  /x"), id="two spaces"),
        pytest.param(GOOD.replace(b"POST", b"post"), id="small method"),
        pytest.param(GOOD.replace(b"1.1", b"2.0"), id="another version"),
        pytest.param(GOOD.replace(b"/x", b"/\xff"), id="target not ASCII"),
        pytest.param(b"\r\n" + GOOD, id="empty line first"),
        pytest.param(GOOD.replace(b"\r\n\r\n", b"\r\n" + b"x: y\r\n" * 200 + b"\r\n"), id="too many"),
        pytest.param(b"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked in 1.0"),
    ],
)
def test_b74_a_head_that_can_be_read_in_two_ways_is_refused(head: bytes) -> None:
    with pytest.raises(EgressDeniedError) as denied:
        check_head(head)
    assert denied.value.code == "protocol"


def test_the_name_of_a_real_client_hello_is_read_in_any_split_of_records() -> None:
    hello = hello_of("API.example.com")
    handshake = hello[5:]
    split = b"".join(
        b"\x16\x03\x01" + len(part).to_bytes(2) + part
        for part in (handshake[at : at + 7] for at in range(0, len(handshake), 7))
    )

    nameless = hello_of(None)

    assert parse_hello(hello) == of("api.example.com", hello)
    assert parse_hello(split) == of("api.example.com", split)
    assert parse_hello(hello + b"\x17\3\3") == of("api.example.com", hello)
    assert parse_hello(nameless) == of(None, nameless)
    for cut in range(len(hello)):
        assert parse_hello(hello[:cut]) is None


def test_ech_is_seen_and_refused_unless_tls_ends_at_the_gate() -> None:
    hello = with_extension(hello_of("a.example"), 0xFE0D, b"\0" * 40)
    hidden = parse_hello(hello)

    assert hidden == ClientHello(server_name="a.example", encrypted=True, record_bytes=len(hello))
    check_hello(hidden, host="a.example", ends_here=True)
    with pytest.raises(EgressDeniedError) as denied:
        check_hello(hidden, host="a.example", ends_here=False)
    assert denied.value.code == "protocol"


@pytest.mark.parametrize("name", ["b.example", None, "a.example.evil.com"])
def test_b75_a_hello_for_another_name_is_refused(name: str | None) -> None:
    hello = parse_hello(hello_of(name))
    assert hello is not None
    with pytest.raises(EgressDeniedError):
        check_hello(hello, host="a.example", ends_here=True)


def test_a_hello_to_an_address_names_none() -> None:
    nameless, named = parse_hello(hello_of(None)), parse_hello(hello_of("a.example"))
    assert nameless is not None
    assert named is not None
    check_hello(nameless, host="1.1.1.1", ends_here=False)
    with pytest.raises(EgressDeniedError):
        check_hello(named, host="1.1.1.1", ends_here=False)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x02\x00\x00\x10" + b"\0" * 16,
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x04\x01\x00\xff\xff",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        with_extension(with_extension(hello_of("a.example"), 21, b""), 21, b""),
        with_extension(hello_of(None), 0, b"\x00\x0c\x00\x00\x09a\0.exampl"),
        with_extension(hello_of(None), 0, b"\x00\x08\x00\x00\x05a.exa\x00"),
    ],
)
def test_bytes_that_are_no_client_hello_are_refused(data: bytes) -> None:
    with pytest.raises(EgressDeniedError) as denied:
        parse_hello(data)
    assert denied.value.code == "protocol"


@given(st.binary(max_size=600))
def test_no_bytes_break_the_parser_of_hellos(data: bytes) -> None:
    for start in (b"", b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc"):
        try:
            parse_hello(start + data)
        except EgressDeniedError as denied:
            assert denied.code == "protocol"  # noqa: PT017 - either outcome is right


@given(st.binary(max_size=300))
def test_no_bytes_break_the_check_of_heads(data: bytes) -> None:
    for head in (data, b"GET / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n"):
        try:
            check_head(head)
        except EgressDeniedError as denied:
            assert denied.code == "protocol"  # noqa: PT017 - either outcome is right


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(0, 60))
def test_an_echo_is_masked_however_the_bytes_arrive(cuts: list[int], before: int) -> None:
    secret = b"abcabcabd-secret"
    whole = b"a" * before + secret + b"abcabc" + secret + b"z" * 30
    mask = Mask(frozenset({secret}))

    out, at = b"", 0
    for cut in cuts:
        out += mask.feed(whole[at : at + cut])
        at += cut
    out += mask.feed(whole[at:]) + mask.end()

    assert out == whole.replace(secret, b"*" * len(secret))


@given(st.lists(st.integers(1, 20), max_size=8))
def test_echoes_that_overlap_are_masked_both_however_the_bytes_arrive(cuts: list[int]) -> None:
    """What is masked of the one is still looked at for the other."""
    whole = b"<abcdefgh12345678><gh12345678>" * 2
    mask = Mask(frozenset({b"abcdefgh12", b"gh12345678", b"678><gh1"}))

    out, at = b"", 0
    for cut in cuts:
        out += mask.feed(whole[at : at + cut])
        at += cut
    out += mask.feed(whole[at:]) + mask.end()

    assert out == (b"<" + b"*" * 28 + b">") * 2
    assert mask.whole(whole) == out


def test_the_spellings_of_a_secret_are_masked() -> None:
    credential = Credential(value="user:p4ss-w0rd!", kind="basic")
    mask = Mask(credential.echoes())

    for text in (b"p4ss-w0rd!", b"dXNlcjpwNHNzLXcwcmQh", b"p4ss-w0rd%21", b"user:p4ss-w0rd!"):
        assert set(mask.whole(text)) == {ord("*")}
    assert mask.whole(b"nothing of it") == b"nothing of it"


@pytest.mark.parametrize(
    "piece", ["<a", "<", "<div>", "<!--", "<a x='", "&", "<![", "<svg>", "</", "<a href=", "\n"]
)
def test_a_hostile_page_takes_time_in_proportion(piece: str) -> None:
    text = readable(piece * (400_000 // len(piece)))
    assert len(text) <= 400_001


def test_a_page_keeps_its_text_and_its_links() -> None:
    page = "<!-- no --><h1>A &amp; B</h1><style>no</style><script>no < no</script><ul><li>x <a href=https://e.x/>y</a></ul>"
    assert readable(page) == "# A & B\n\n- x y <https://e.x/>\n"


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("text/plain; charset=iso-8859-1", b"\xe9", "é"),
        ("text/plain; charset=nonsense", b"\xc3\xa9", "é"),
        ("text/plain; charset=zlib_codec", b"x", "x"),
        ("application/json", b"[" * 100_000, "[" * 100_000),
        ("application/json", b"{}", "{}\n"),
        ("", b"x", "x"),
    ],
)
def test_a_body_becomes_text(kind: str, body: bytes, expected: str) -> None:
    assert rendered(body, kind).decode() == expected


def test_a_body_that_is_not_text_is_left_alone() -> None:
    assert rendered(b"\0\xff", "image/png") == b"\0\xff"
