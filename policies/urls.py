"""URLs of requests and path patterns of egress rules: one canonical form; what is ambiguous is refused."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from policies.errors import BadValueError, RuleAt
from policies.hosts import canonical_host
from policies.wording import quoted

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
LONGEST_URL: Final = 8192
LONGEST_PATTERN: Final = 512
LARGEST_PORT: Final = 65535
READING: Final = frozenset({"GET", "HEAD"})
_EXAMPLE: Final = "as in `https://api.example.com/path`"
_PLAIN = re.compile(r"[!-~]+")
_URL = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]{0,15})://"  # scheme
    r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,254})(?::([0-9]{1,5}))?"  # host and port, and no user
    r"(/[!\"$->@-\[\]-~]*)?(?:\?[!-\[\]-~]*)?"  # path and query, without a backslash
    r"(?:#[!-\[\]-~]*)?"
)
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AMBIGUOUS = re.compile(r"%(2[eEfF]|5[cC]|25|00|3[bBfF]|[01][0-9A-Fa-f]|7[fF])|[;\\]|//|/\.{1,2}(/|\Z)")
_UNRESERVED: Final = frozenset(string.ascii_letters + string.digits + "-._~")
SLASH: Final = "%2F"
_ANY_SLASH = re.compile(r"%2[fF]")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes.

    Attributes:
        scheme: `http` or `https`.
        host: The canonical host.
        port: 1 to 65535.
        path: The canonical path, beginning with `/`, without query.
    """

    scheme: str
    host: str
    port: int
    path: str = "/"

    @property
    def origin(self) -> str:
        """Scheme, host and port as one canonical text."""
        return f"{self.scheme}://{self.host}:{self.port}"


def canonical_url_path(path: str) -> str:
    r"""Bring the path of a request into the one form that rules are matched against.

    Args:
        path: The path, percent-encoded, without query or fragment.

    Returns:
        The path with needless percent-encoding undone.

    Raises:
        BadValueError: When servers may read it in two ways: `..`, `//`, `;`, `\`, `%2e`, `%2f`, `%25`.
    """
    text = path or "/"
    if not text.startswith("/") or not _PLAIN.fullmatch(text) or _PERCENT.search(text):
        raise BadValueError(f"{quoted(path)} is not the path of a URL", hint="percent-encode it, from `/` on")
    if _AMBIGUOUS.search(text):
        raise BadValueError(
            f"path {quoted(path)} can be read in two ways", hint="no `..`, `//`, `;`, `\\`, `%2f`, `%25`"
        )
    return _ESCAPE.sub(_decoded, text)


def readings(path: str) -> tuple[str, ...]:
    """Say in which ways servers may read the path of a request that only reads.

    npm asks for `/@scope%2fname`: some servers take the encoded slash for a letter, some for a slash.

    Args:
        path: The path of a `Target`.

    Returns:
        The path as it stands, and, where a slash is encoded in it, the path with that slash.
    """
    return (path, path.replace(SLASH, "/")) if SLASH in path else (path,)


def _decoded(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else found[0].upper()


def canonical_url(text: str, *, method: str = "") -> Target:
    """Bring a URL into the one form that rules and sinks are compared in.

    Args:
        text: The URL as an agent wrote it.
        method: The method of the request; empty where it is no request. With GET and HEAD one slash of the
            path may be encoded: whoever decides then looks at all `readings`.

    Returns:
        Where it goes; query and fragment are not part of that.

    Raises:
        BadValueError: When it is no plain http or https URL, carries a user, or can be read in two ways.
    """
    found = _URL.fullmatch(text) if len(text) <= LONGEST_URL else None
    if found is None:
        raise _no_url(text)
    scheme, host, port, path = found[1].lower(), found[2], int(found[3] or 0), found[4]
    if scheme not in DEFAULT_PORTS:
        raise BadValueError(f"{quoted(text)} is not an http or https URL", hint=_EXAMPLE)
    if found[3] is not None and not 1 <= port <= LARGEST_PORT:
        raise BadValueError(f"URL {quoted(text)} has no lawful port", hint="1 to 65535")
    path = _path(path or "/", slash=method in READING)
    return Target(scheme, canonical_host(host), port or DEFAULT_PORTS[scheme], path)


def _path(path: str, *, slash: bool) -> str:
    """Bring a path into its one form, in which a single encoded slash stays encoded where it may stand."""
    before, *after = _ANY_SLASH.split(path) if slash and "%" in path else (path,)
    if len(after) != 1:
        return canonical_url_path(path)
    # Read with the slash it has to be plain: what is ambiguous then is refused.
    clean = canonical_url_path(f"{before}/{after[0]}")
    place = len(canonical_url_path(before))
    return f"{clean[:place]}{SLASH}{clean[place + 1 :]}"


def _no_url(text: str) -> BadValueError:
    authority = text.partition("://")[2].partition("/")[0]
    if "@" in authority or "%" in authority:
        return BadValueError(
            f"URL {quoted(text)} carries a user or an encoded host", hint="host and port only"
        )
    if not _PLAIN.fullmatch(text):
        return BadValueError(f"{quoted(text)} is not a URL", hint="visible ASCII only, no spaces")
    return BadValueError(f"{quoted(text)} is not an http or https URL", hint=_EXAMPLE)


@dataclass(frozen=True, slots=True)
class UrlPath:
    """A path pattern of an egress rule: whole, case kept, `*` in one segment, `**` any number of them.

    Attributes:
        text: The pattern, beginning with `/`.
        at: Where it was written; does not count when two are compared.
    """

    text: str
    at: RuleAt | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Refuse what has no one meaning, so that there is no such pattern."""
        _refuse_nonsense(self.text)

    @classmethod
    def parse(cls, text: str, *, at: RuleAt | None = None) -> UrlPath:
        """Read a pattern.

        Args:
            text: For example `/repos/acme/**`.
            at: Where it was written.

        Returns:
            The pattern.

        Raises:
            BadValueError: When it is no canonical path, or `**` is not a whole segment.
        """
        return cls(text, at)

    @property
    def is_wild(self) -> bool:
        """Whether more than one path is meant."""
        return "*" in self.text

    def matches(self, path: str) -> bool:
        """Tell whether a path is meant.

        Args:
            path: A canonical path.

        Returns:
            True when the whole path matches.
        """
        return _compiled(self.text).fullmatch(path) is not None


def _refuse_nonsense(text: str) -> None:
    if not text.startswith("/"):
        raise BadValueError(
            f"path {quoted(text)} does not begin with `/`", hint=f"write {quoted('/' + text)}"
        )
    if "?" in text or "#" in text:
        raise BadValueError(
            f"path {quoted(text)} has a query", hint="rules match paths; queries are not matched"
        )
    if text != (clean := canonical_url_path(text)):
        raise BadValueError(f"path {quoted(text)} is not in its plain form", hint=f"write {quoted(clean)}")
    if len(text) > LONGEST_PATTERN:
        raise BadValueError(f"path {quoted(text)} is longer than {LONGEST_PATTERN} characters")
    if any("**" in part and part != "**" for part in text.split("/")):
        raise BadValueError(
            f"path {quoted(text)} has `**` inside a segment", hint="`**` stands between slashes"
        )


@lru_cache(maxsize=1024)
def _compiled(text: str) -> re.Pattern[str]:
    chunks: list[list[str]] = [[]]
    for part in text[1:].split("/"):
        if part == "**":
            chunks.append([])
        else:
            chunks[-1].append(_segment(part))
    if len(chunks) == 1:
        return re.compile("/" + "/".join(chunks[0]))
    first, *middle, last = chunks
    # Atomic: the leftmost place is as good as any later one, so nothing is ever tried twice.
    parts = ["".join(f"/{part}" for part in first)]
    bodies = ("".join(f"/{part}" for part in chunk) for chunk in middle if chunk)
    parts += [rf"(?>(?:/[^/]*)*?{body}(?=/|\Z))" for body in bodies]
    parts.append(f"(?:/[^/]*)*{''.join(f'/{part}' for part in last)}")
    return re.compile("".join(parts))


def _segment(part: str) -> str:
    pieces = [re.escape(piece) for piece in re.split(r"\*+", part)]
    if len(pieces) == 1:
        return pieces[0]
    middle = "".join(f"(?>[^/]*?{piece})" for piece in pieces[1:-1] if piece)
    return f"{pieces[0]}{middle}[^/]*{pieces[-1]}"
