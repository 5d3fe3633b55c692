"""Ask other parsers of URLs, curl's own among them, where a text leads: host, port and path, or nowhere."""

from __future__ import annotations

import ctypes
import ctypes.util
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx
import yarl
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from policies.hosts import is_address

if TYPE_CHECKING:
    from collections.abc import Callable

PORTS: Final = {"http": 80, "https": 443}
# curl/urlapi.h: the parts of a URL, and the flag that fills a missing port in.
_USER, _HOST, _PORT, _PATH = 2, 5, 6, 7
_URL: Final = 0
_DEFAULT_PORT: Final = 1
_PATH_AS_IS: Final = 1 << 4


@dataclass(frozen=True)
class Place:
    """Where a request would go."""

    host: str
    port: int
    path: str


def _place(host: str, port: int, path: str) -> Place:
    name = host.removeprefix("[").removesuffix("]").removesuffix(".").lower()
    return Place(str(ipaddress.ip_address(name)) if is_address(name) else name, port, path or "/")


def urllib3_goes_to(text: str) -> Place | None:
    """Return where urllib3, and so requests and pip, would go."""
    try:
        found = parse_url(text)
    except LocationParseError:
        return None
    assert found.auth is None, text
    return _place(found.host or "", found.port or PORTS[found.scheme or "http"], found.path or "/")


def urllib_goes_to(text: str) -> Place | None:
    """Return where the standard library would go."""
    try:
        found = urlsplit(text)
        port = found.port
    except ValueError:
        return None
    assert found.username is None, text
    return _place(found.hostname or "", port or PORTS[found.scheme], found.path)


def httpx_goes_to(text: str) -> Place | None:
    """Return where httpx would go."""
    try:
        found = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError):
        return None
    assert not found.userinfo, text
    path = found.raw_path.partition(b"?")[0].decode("ascii")
    return _place(found.raw_host.decode("ascii"), found.port or PORTS[found.scheme], path)


def yarl_goes_to(text: str) -> Place | None:
    """Return where aiohttp would go."""
    try:
        found = yarl.URL(text)
    except (ValueError, UnicodeError):
        return None
    assert found.user is None, text
    return _place(found.raw_host or "", found.port or PORTS[found.scheme], found.raw_path)


def _library() -> ctypes.CDLL:
    """Load libcurl; git's build of it has the same parser as curl's own."""
    for name in (ctypes.util.find_library("curl"), "libcurl.so.4", "libcurl-gnutls.so.4"):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if library is not None:
            library.curl_url.restype = ctypes.c_void_p
            library.curl_url_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
            library.curl_url_get.argtypes = (
                ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p), ctypes.c_uint,
            )  # fmt: skip
            library.curl_free.argtypes = library.curl_url_cleanup.argtypes = (ctypes.c_void_p,)
            return library
    raise AssertionError("neither curl nor git is installed: scripts/test_tools.sh installs them")


def curl_goes_to(text: str, library: ctypes.CDLL = _library()) -> Place | None:  # noqa: B008 - loaded once
    """Return where curl would go, by the parser that it and git have."""
    if "\0" in text:
        return None
    handle = library.curl_url()
    try:
        if library.curl_url_set(handle, _URL, text.encode("utf-8", "surrogatepass"), _PATH_AS_IS):
            return None
        assert _part(library, handle, _USER) is None, text
        host, port, path = (_part(library, handle, part) for part in (_HOST, _PORT, _PATH))
    finally:
        library.curl_url_cleanup(handle)
    return _place(host or "", int(port or 0), path or "/")


def _part(library: ctypes.CDLL, handle: int, part: int) -> str | None:
    found = ctypes.c_void_p()
    if library.curl_url_get(handle, part, ctypes.byref(found), _DEFAULT_PORT) or not found.value:
        return None
    try:
        return ctypes.string_at(found.value).decode("utf-8", "surrogateescape")
    finally:
        library.curl_free(found)


PARSERS: Final[dict[str, Callable[[str], Place | None]]] = {
    "curl": curl_goes_to,
    "httpx": httpx_goes_to,
    "urllib": urllib_goes_to,
    "urllib3": urllib3_goes_to,
    "yarl": yarl_goes_to,
}
