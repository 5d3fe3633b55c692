"""Check the head of a request byte by byte before a lenient parser sees it: one meaning, or none.

RFC 9112 2.2 (bare CR and LF), 5.2 (obs-fold), 6.1 and 6.3 (length against encoding), 3.2 (Host); each
has been used to make two servers see two different requests in the same bytes.
"""

from __future__ import annotations

import re
from typing import Final

from sandbox.egress.errors import EgressDeniedError

HEAD_BYTES: Final = 64 * 1024
MOST_LINES: Final = 129
_BEGINNING: Final = re.compile(rb"[A-Z][A-Z-]{0,31}( .*)?", re.DOTALL)
_REQUEST: Final = re.compile(rb"[A-Z][A-Z-]{0,31} [!-~]{1,8192} HTTP/1\.[01]")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}):[ \t]*([\t\x20-\x7e\x80-\xff]{0,16384})")
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")


def check_beginning(raw: bytes) -> None:
    """Refuse what cannot become a request, whatever follows, so that nobody waits for the rest of it.

    Args:
        raw: At least one byte.

    Raises:
        EgressDeniedError: With code `protocol`.
    """
    if not _BEGINNING.fullmatch(raw):
        raise _refused("what came is no request of HTTP/1.1")


def check_head(raw: bytes) -> None:
    """Refuse a head that two parsers could read in two ways.

    Args:
        raw: The request line and the headers, with the empty line at the end.

    Raises:
        EgressDeniedError: With code `protocol`.
    """
    if not raw.endswith(b"\r\n\r\n"):
        raise _refused("the head of the request does not end")
    first, *lines = raw[:-4].split(b"\r\n")
    if not _REQUEST.fullmatch(first):
        raise _refused("the request line is not `METHOD target HTTP/1.1`")
    if len(lines) >= MOST_LINES:
        raise _refused(f"{len(lines)} headers; at most {MOST_LINES - 1} are read")
    found: dict[bytes, list[bytes]] = {}
    for line in lines:
        matched = _HEADER.fullmatch(line)
        if matched is None:
            raise _refused("a header is folded, has a space before its colon, or holds a control character")
        found.setdefault(matched[1].lower(), []).append(matched[2].strip(b" \t"))
    _check_host(found, is_1_1=first.endswith(b"1.1"))
    _check_length(found, is_1_1=first.endswith(b"1.1"))


def _check_host(found: dict[bytes, list[bytes]], *, is_1_1: bool) -> None:
    hosts = found.get(b"host", [])
    if len(hosts) > 1 or (is_1_1 and not hosts):
        raise _refused(f"the request has {len(hosts)} `Host` headers; one is expected")


def _check_length(found: dict[bytes, list[bytes]], *, is_1_1: bool) -> None:
    lengths = found.get(b"content-length", [])
    encodings = found.get(b"transfer-encoding", [])
    if lengths and encodings:
        raise _refused("the request has both `Content-Length` and `Transfer-Encoding`")
    if len(lengths) > 1 or any(not _LENGTH.fullmatch(value) for value in lengths):
        raise _refused("the request's `Content-Length` is not one number")
    if encodings and (not is_1_1 or [value.lower() for value in encodings] != [b"chunked"]):
        raise _refused("the request's `Transfer-Encoding` is not `chunked` alone")


def _refused(message: str) -> EgressDeniedError:
    return EgressDeniedError("protocol", message, hint="send plain HTTP/1.1")
