"""What is asked for: conditions over an entry, as a person writes them, and whether an entry fulfils them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import orjson

from audit.chain import Entry
from audit.errors import BadFilterError
from audit.escape import escape_line
from audit.hostile import unmark
from audit.redact import tag_of

_TERM = re.compile(r"(?P<field>[a-z_0-9.]+)(?P<sign>!=|=|!~|~)(?P<value>.*)", re.DOTALL)
_AGO = re.compile(r"(?P<number>\d{1,6})(?P<unit>[smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WORDS = {
    ("verdict", "deny"): "denied",
    ("verdict", "allow"): "allowed",
    ("verdict", "ask"): "needs_approval",
}
_OF_THE_LINE = frozenset({"type", "seq", "at"})


@dataclass(frozen=True, slots=True)
class Term:
    """One condition.

    Attributes:
        field: `type`, `seq`, `at`, or the name of a field at any depth of the body; `any` for all of them.
        contains: Whether the value need only be a part.
        negated: Whether the condition must not hold.
        value: What to compare with.
    """

    field: str
    contains: bool
    negated: bool
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Conditions that all have to hold.

    Attributes:
        terms: The conditions.
        since: The earliest time of an entry, as the ledger spells it; empty for any.
        until: The latest time; empty for any.
        tag: The tag of a secret that the entry must have been redacted of; empty for none.
    """

    terms: tuple[Term, ...] = ()
    since: str = ""
    until: str = ""
    tag: str = ""

    def kind(self) -> bytes:
        """Return how a matching line's type is spelled; empty when any may match."""
        exact = [
            term.value for term in self.terms if term.field == "type" and not (term.contains or term.negated)
        ]
        return b'"type":' + orjson.dumps(_encodable(exact[0])) if exact else b""

    def pieces(self) -> list[bytes]:
        """Return bytes that a matching line holds, unless it holds a mark: most lines need not be decoded."""
        found = [f'"{term.field}":'.encode() for term in self.terms if _names_a_field(term)]
        found += [
            orjson.dumps(_encodable(term.value))[1:-1]
            for term in self.terms
            if term.value and not term.negated and term.field not in _OF_THE_LINE
        ]
        if self.tag:
            found.append(f":{self.tag}]".encode())
        return found


def parse_filter(text: str, *, since: str = "", until: str = "", now: datetime | None = None) -> Filter:
    """Return the filter that a person has written.

    Args:
        text: Conditions with spaces between, for example ``type=action.intended verdict=deny host~example``;
            `=` is the whole value, `~` a part of it, `!=` and `!~` the opposite. Quotes keep spaces.
        since: A time (``2026-01-31``, ``2026-01-31T10:00:00Z``) or how long ago (``90m``, ``2d``).
        until: The same.
        now: The time from which to count back; the machine's own when None.

    Raises:
        BadFilterError: When it cannot be understood.
    """
    terms = tuple(_term(word) for word in _words(text))
    moment = now or datetime.now(UTC)
    return Filter(terms=terms, since=_time(since, moment), until=_time(until, moment))


def with_secret(wanted: Filter, secret: str, key: bytes) -> Filter:
    """Return the filter that also asks where a secret was used.

    Args:
        wanted: The other conditions.
        secret: The secret's value; only its tag is kept.
        key: The host's redaction key.
    """
    return replace(wanted, tag=tag_of(secret, key))


def matches(wanted: Filter, entry: Entry) -> bool:
    """Tell whether an entry fulfils every condition but the tag, which is looked for in the raw line."""
    if wanted.since and entry.at < wanted.since:
        return False
    if wanted.until and entry.at > wanted.until:
        return False
    return all(_holds(term, entry) for term in wanted.terms)


def lacks_tag(wanted: Filter, entry: Entry) -> bool:
    """Tell whether a secret is asked for that the entry was not redacted of."""
    return bool(wanted.tag) and f":{wanted.tag}]" not in str(unmark(entry.body))


def _words(text: str) -> list[str]:
    """Split at spaces that are outside double quotes."""
    words, word, quoted, begun = [], "", False, False
    for char in text:
        if char == '"':
            quoted, begun = not quoted, True
        elif char.isspace() and not quoted:
            if begun:
                words.append(word)
            word, begun = "", False
        else:
            word, begun = word + char, True
    if quoted:
        raise BadFilterError("a quote is not closed", hint='field~"two words"')
    return [*words, word] if begun else words


def _term(word: str) -> Term:
    found = _TERM.fullmatch(word)
    if found is None:
        raise BadFilterError(
            f"`{escape_line(word, width=60)}` is not a condition",
            hint="field=value, field~part, field!=value",
        )
    field, sign, value = found["field"], found["sign"], found["value"]
    return Term(
        field=field,
        contains=sign.endswith("~"),
        negated=sign.startswith("!"),
        value=_WORDS.get((field, value), value),
    )


def _time(text: str, now: datetime) -> str:
    if not text:
        return ""
    ago = _AGO.fullmatch(text)
    if ago:
        moment = now - timedelta(**{_UNITS[ago["unit"]]: int(ago["number"])})
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise BadFilterError(
                f"`{escape_line(text, width=60)}` is not a time", hint="2026-01-31, 90m or 2d"
            ) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _names_a_field(term: Term) -> bool:
    return (
        not term.negated and term.field not in _OF_THE_LINE and term.field != "any" and "." not in term.field
    )


def _holds(term: Term, entry: Entry) -> bool:
    found = any(_same(term, value) for value in _values(term, entry))
    return found is not term.negated


def _values(term: Term, entry: Entry) -> Iterator[object]:
    match term.field:
        case "type":
            yield entry.type
        case "seq":
            yield entry.seq
        case "at":
            yield entry.at
        case "any":
            yield from _leaves(unmark(entry.body))
        case name:
            yield from _named(unmark(entry.body), name.split("."))


def _named(value: object, path: list[str]) -> Iterator[object]:
    """Yield every scalar beneath a field of that name, at any depth; a dotted name is a path."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == path[0]:
                yield from _leaves(item) if len(path) == 1 else _named(item, path[1:])
            else:
                yield from _named(item, path)
    elif isinstance(value, tuple):
        for item in value:
            yield from _named(item, path)


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, tuple | list):  # a list stands in a mark that was not turned back
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _same(term: Term, value: object) -> bool:
    text = json.dumps(value) if isinstance(value, bool) or value is None else str(value)
    return term.value in text if term.contains else text == term.value
