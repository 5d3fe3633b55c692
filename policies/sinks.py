"""Compare destinations: whole values in one form for each kind, and whether the user's own words name one.

What cannot be brought into the one form (several recipients in one text, display names, other letters than
ASCII where names are ASCII) is no destination at all, and so never fixed.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final, assert_never

from policies.errors import BadValueError
from policies.hosts import canonical_host
from policies.urls import Target, canonical_url
from policies.wording import is_unseen, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.commands import ValuePattern
    from policies.request import ArgumentValue, SinkKind, SinkUse

# `%`, `!`, `/` and `|` route on to somewhere else (RFC 1123, 5.2.16), as do Exchange's IMCEA form
# ([MS-OXCMAIL] 2.1.1.2) and a sender that was rewritten (SRS): below a domain that a pattern names, any
# other domain could be written.
_ROUTED = r"imcea[^-]*(?:-|\+2d)|srs[01][=+-]"
_LOCAL = re.compile(rf"(?!{_ROUTED})[a-z0-9#$&'*+=?^_{{}}~-]+(\.[a-z0-9#$&'*+=?^_{{}}~-]+)*")
_CHANNEL_ID = re.compile(r"[CGDUW][A-Z0-9]{8,20}")
_CHANNEL = re.compile(r"[#@]?[a-z0-9_][a-z0-9_.-]{0,79}")
_WRAPS: Final = "<>()[]{}\"'`|*\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb"  # around a word
_ENDS: Final = ".,:;!?"  # what ends a word, a clause or a sentence
_OPENS = re.compile(rf"(?:^|\s)[{re.escape(_WRAPS)}]*\Z")
_CLOSES = re.compile(rf"[{re.escape(_WRAPS + _ENDS)}]*(?:\s|\Z)")
_SHORTEST_TEXT: Final = 3
LONGEST_WRAP: Final = 16
LONGEST_SINK: Final = 2048


def each_value(value: ArgumentValue) -> Iterator[str]:
    """Walk through an argument's values, however they are nested.

    Args:
        value: One value, or lists of them.

    Yields:
        Each single value as text; nothing for None.

    Raises:
        BadValueError: When lists are nested deeper than eight.
    """
    yield from _each(value, 0)


def _each(value: ArgumentValue, depth: int) -> Iterator[str]:
    if depth > 8:
        raise BadValueError("values are nested deeper than 8", hint="a plain list")
    match value:
        case None:
            return
        case bool():
            yield "true" if value else "false"
        case str() | int() | float():
            yield str(value)
        case tuple() | list():
            for item in value:
                yield from _each(item, depth + 1)
        case _:
            raise BadValueError(
                f"a value is of the kind {quoted(type(value).__name__)}", hint="texts, numbers and lists"
            )


def canonical_sink(kind: SinkKind, value: str) -> str:
    """Bring a destination into the form in which two are compared.

    Args:
        kind: What it is.
        value: As the agent, a rule or the user wrote it.

    Returns:
        The canonical value.

    Raises:
        BadValueError: When it is not exactly one destination of that kind.
    """
    if not value or len(value) > LONGEST_SINK or _has_unseen(value):
        raise BadValueError(f"{quoted(value)} is not one destination")
    match kind:
        case "address":
            return _address(value)
        case "channel":
            return _channel(value)
        case "url":
            target = canonical_url(value)
            return target.origin + target.path
        case "host":
            return canonical_host(value)
        case "account" | "text":
            return unicodedata.normalize("NFC", value)
        case _:
            assert_never(kind)


def _has_unseen(value: str) -> bool:
    if value.isascii():
        return not value.isprintable()
    return any(is_unseen(character) for character in value)


def _address(value: str) -> str:
    local, at, domain = value.lower().rpartition("@")
    if not value.isascii() or not at or not _LOCAL.fullmatch(local):
        raise BadValueError(
            f"{quoted(value)} is not one address",
            hint="as in `name@example.com`, without a display name or a route",
        )
    return f"{local}@{canonical_host(domain)}"


def _channel(value: str) -> str:
    if _CHANNEL_ID.fullmatch(value):
        return value
    small = value.lower()
    if not value.isascii() or not _CHANNEL.fullmatch(small):
        raise BadValueError(f"{quoted(value)} is not one channel", hint="as in `#ci`")
    return small if small[0] in "#@" else f"#{small}"


def named_in(task: str | None, kind: SinkKind, value: str) -> bool:
    """Tell whether a destination stands, whole, in the user's own words.

    Args:
        task: The trusted text of the task; None is no text.
        kind: What the destination is.
        value: The canonical destination.

    Returns:
        True when one word of the text is this destination.
    """
    if not task:
        return False
    if kind in {"account", "text"}:
        return len(value) >= _SHORTEST_TEXT and _stands_whole(unicodedata.normalize("NFC", task), value)
    return value in _named(task, kind)


@lru_cache(maxsize=64)  # a session asks of one task again and again, and a task can be long
def _named(task: str, kind: SinkKind) -> frozenset[str]:
    words = words_of(task, lists=kind != "url")
    return frozenset(named for word in words if (named := _destination(kind, word)) is not None)


def url_named_in(task: str | None, target: Target, *, with_path: bool) -> bool:
    """Tell whether a URL's destination stands, whole, in the user's own words.

    Args:
        task: The trusted text of the task; None is no text.
        target: Where the request goes.
        with_path: Whether the path is part of the destination, as it is for all but GET and HEAD.

    Returns:
        True when one word of the text is a URL of the same scheme, host and port, and path where that counts.
    """
    named = _urls(task or "")
    return any(one.origin == target.origin and (one.path == target.path or not with_path) for one in named)


@lru_cache(maxsize=64)
def _urls(task: str) -> tuple[Target, ...]:
    found: dict[Target, None] = {}
    for word in words_of(task, lists=False):
        if not word.lower().startswith(("http://", "https://")):
            continue
        with contextlib.suppress(BadValueError):
            found[canonical_url(word, method="GET")] = None  # a slash may be encoded
    return tuple(found)


def words_of(text: str, *, lists: bool) -> Iterator[str]:
    """Split the user's words where no destination goes on: a part of a word is no destination.

    Args:
        text: The trusted text.
        lists: Whether `,`, `;` and `<` separate words too: they stand in no address, channel or host.

    Yields:
        Each word, without the quotes and brackets around it and the punctuation that ends it.
    """
    for word in re.split(r"[\s,;<>]+" if lists else r"\s+", text):
        if trimmed := word.lstrip(_WRAPS).rstrip(_WRAPS + _ENDS):
            yield trimmed


def _destination(kind: SinkKind, word: str) -> str | None:
    if kind == "channel" and word[0] not in "#@" and not _CHANNEL_ID.fullmatch(word):
        return None  # `general` in a sentence is not the channel `#general`
    if kind == "address" and "@" not in word:
        return None
    try:
        return canonical_sink(kind, word)
    except BadValueError:
        return None


def _stands_whole(text: str, value: str) -> bool:
    start = text.find(value)
    while start >= 0:
        end = start + len(value)
        if _OPENS.search(text, max(0, start - LONGEST_WRAP), start) and _CLOSES.match(text, end):
            return True
        start = text.find(value, start + 1)
    return False


def fits(pattern: ValuePattern, value: str, sink: SinkUse | None) -> bool:
    """Tell whether a value is one that a rule means.

    Args:
        pattern: The rule's value.
        value: The argument's value.
        sink: What the argument is, if it decides where data goes: then canonical forms are compared.

    Returns:
        True when the whole value fits.
    """
    if sink is None:
        return pattern.matches(value)
    try:
        canonical = canonical_sink(sink.kind, value)
        if pattern.is_wild:
            return pattern.matches(canonical)
        return canonical_sink(sink.kind, pattern.text) == canonical
    except BadValueError:
        return False
