"""Read YAML 1.2 text into plain values, and remember where each stood. What they mean is not known here.

Only the core of YAML is read: mappings with text keys, sequences, and the scalars of the core schema. Tags,
anchors, aliases, directives, several documents and invisible characters are refused, so that what a reviewer
reads is what is meant, and a small text cannot become a large value.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from policies.errors import PolicyFileError, Problem, RuleAt
from policies.wording import is_unseen, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_TEXT: Final = 64 * 1024  # bytes; a hand-written policy has a few thousand
DEEPEST: Final = 12
MOST_PROBLEMS: Final = 50
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?[0-9]{1,17}\.[0-9]{1,17}")
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

_QUOTE_STAR: Final = 'a value that begins with `*` is quoted, as in `"*.pem"`'
_SYNTAX_MENDS: Final = (  # what the parser says -> how a person mends it; the first that fits
    ("'\\t'", "indent with spaces: YAML takes no tabs there"),
    ("scanning an alias", _QUOTE_STAR),
    ("cannot start any token", 'quote the value, as in `"…"`'),
    ("mapping values are not allowed", "indent keys of one block alike, and quote a value that holds `: `"),
    ("did not find expected <block end>", "indent keys of one block alike"),
    ("expected <block end>", "indent keys of one block alike"),
    ("could not find expected ':'", "write `key: value`, and `- value` with a space"),
    ("unexpected end of stream", "a quote or a bracket is not closed"),
    ("expected ',' or", "a bracket is not closed"),
)

Path = tuple[str | int, ...]


class Located(str):
    """A text that knows where it was written."""

    __slots__ = ("at",)
    at: RuleAt

    @classmethod
    def of(cls, text: str, at: RuleAt) -> Located:
        """Put a text and its place together.

        Args:
            text: The text.
            at: Where it stands.

        Returns:
            The same text, with its place.
        """
        made = cls(text)
        made.at = at
        return made


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML document as plain values.

    Attributes:
        origin: The file's name.
        value: Dicts, tuples, located texts, numbers, booleans and None.
        values_at: Path -> where the value stands.
        keys_at: Path -> where the key of that value stands.
    """

    origin: str
    value: object
    values_at: dict[Path, RuleAt]
    keys_at: dict[Path, RuleAt]

    def at(self, path: Path) -> RuleAt:
        """Find the place of a value, or of the nearest thing that contains it.

        Args:
            path: Keys and indices from the top.

        Returns:
            The place.
        """
        while path and path not in self.values_at:
            path = path[:-1]
        return self.values_at.get(path, RuleAt(self.origin, 1, 1))


def read_document(text: str, *, origin: str, largest: int = LARGEST_TEXT) -> Document:
    """Read one YAML document.

    Args:
        text: The whole file.
        origin: Its name, for messages.
        largest: How large it may be, in bytes of UTF-8.

    Returns:
        The document.

    Raises:
        PolicyFileError: With every problem found up to the first that ends the reading.
    """
    start = RuleAt(origin, 1, 1)
    if len(text) > largest or len(text.encode("utf-8", "replace")) > largest:
        raise PolicyFileError([Problem(start, f"the file is larger than {largest // 1024} KiB")])
    if refused := [*_unseen(text, origin), *_directives(text, origin)]:
        raise PolicyFileError(refused)
    reader = _Reader(origin=origin)
    try:
        value = reader.read(YAML(typ="safe", pure=True).parse(text))
    except PolicyFileError:
        raise
    except MarkedYAMLError as exc:
        reader.problems.append(_syntax(exc, origin))
        raise PolicyFileError(reader.problems) from None
    except Exception as exc:  # noqa: BLE001 - whatever the parser raises on hostile text is a fault of the text
        reader.problems.append(Problem(reader.last, f"not valid YAML: {quoted(exc)}"))
        raise PolicyFileError(reader.problems) from None
    if reader.problems:
        raise PolicyFileError(reader.problems)
    return Document(origin, value, reader.values_at, reader.keys_at)


def _unseen(text: str, origin: str) -> Iterator[Problem]:
    if text.isascii() and text.replace("\r\n", "").replace("\n", "").replace("\t", "").isprintable():
        return
    places: dict[str, list[RuleAt]] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        for column, character in enumerate(line, 1):
            at_end = character == "\r" and column == len(line)
            if character != "\t" and not at_end and is_unseen(character):
                places.setdefault(character, []).append(RuleAt(origin, number, column))
    for character, found in list(places.items())[:MOST_PROBLEMS]:
        named = unicodedata.name(character, "").lower()
        shown = f"`U+{ord(character):04X}`" + (f" ({named})" if named else "")
        more = f", and {len(found) - 1} more of it" if len(found) > 1 else ""
        yield Problem(
            found[0],
            f"the invisible character {shown} stands here{more}",
            "remove it: a reviewer cannot see it",
        )


def _directives(text: str, origin: str) -> Iterator[Problem]:
    """Find what stands before a document and would change how it is read; known to the parser or not."""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if line.startswith("%"):
            what = "a `%` directive stands here; the language is YAML 1.2"
            yield Problem(RuleAt(origin, number, 1), what, "remove the line")
        elif line.strip() and not line.lstrip().startswith("#"):
            return


def _syntax(exc: MarkedYAMLError, origin: str) -> Problem:
    mark = exc.problem_mark or exc.context_mark
    at = RuleAt(origin, mark.line + 1, mark.column + 1) if mark else RuleAt(origin, 1, 1)
    return Problem(at, f"not valid YAML: {quoted(_what(exc))}", mend_of(exc))


def _what(exc: MarkedYAMLError) -> str:
    return " ".join(str(exc.problem or "it cannot be read").split())


def mend_of(exc: MarkedYAMLError) -> str:
    """Say how a person mends what the parser stumbled over.

    Args:
        exc: What the parser raised.

    Returns:
        The mend; empty when it is none of the usual ones.
    """
    said = f"{exc.context or ''} {_what(exc)}"
    return next((mend for words, mend in _SYNTAX_MENDS if words in said), "")


@dataclass(slots=True)
class _Reader:
    origin: str
    problems: list[Problem] = field(default_factory=list)
    values_at: dict[Path, RuleAt] = field(default_factory=dict)
    keys_at: dict[Path, RuleAt] = field(default_factory=dict)
    last: RuleAt = field(default_factory=lambda: RuleAt("", 1, 1))

    def read(self, events: Iterator[object]) -> object:
        self.last = RuleAt(self.origin, 1, 1)
        value: object = None
        documents = 0
        for event in events:
            if not isinstance(event, DocumentStartEvent):
                continue
            documents += 1
            self._place(event)
            if documents > 1:
                self._stop("a second document begins here; a file holds one")
            value = self._node(next(events), events, ())
        return value

    def _place(self, event: object) -> RuleAt:
        mark = event.start_mark  # type: ignore[attr-defined]  # every event has one; the library's types do not say so
        self.last = RuleAt(self.origin, mark.line + 1, mark.column + 1)
        return self.last

    def _stop(self, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.last, message, hint))
        raise PolicyFileError(self.problems)

    def _problem(self, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.last, message, hint))
        if len(self.problems) >= MOST_PROBLEMS:
            raise PolicyFileError(self.problems)

    def _node(self, event: object, events: Iterator[object], path: Path) -> object:
        self.values_at[path] = at = self._place(event)
        if len(path) > DEEPEST:
            self._stop(f"this is nested deeper than {DEEPEST}")
        if isinstance(event, AliasEvent):
            mend = "write the keys where they are meant" if path[-1:] == ("<<",) else _QUOTE_STAR
            self._problem(f"anchors and aliases are not read: {quoted(f'*{event.anchor}')}", mend)
        elif getattr(event, "anchor", None):
            self._problem("anchors and aliases are not read", "write the value where it is meant")
        if not isinstance(event, AliasEvent) and getattr(event, "tag", None):
            self._problem(f"the tag {quoted(event.tag)} is not read", "write the plain value")  # type: ignore[attr-defined]  # as above
        match event:
            case MappingStartEvent():
                return self._mapping(events, path)
            case SequenceStartEvent():
                return self._sequence(events, path)
            case ScalarEvent():
                return _scalar(event, at)
            case _:
                return None

    def _sequence(self, events: Iterator[object], path: Path) -> tuple[object, ...]:
        items: list[object] = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                break
            items.append(self._node(event, events, (*path, len(items))))
        return tuple(items)

    def _mapping(self, events: Iterator[object], path: Path) -> dict[str, object]:
        items: dict[str, object] = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            key = self._key(event, events, path)
            key_at = self.last
            if key in items:
                first = self.keys_at[(*path, key)]
                self._problem(f"key {quoted(key)} stands twice", f"the first is on line {first.line}")
                self._node(next(events), events, (*path, f"{key} (again)"))
                continue
            self.keys_at[(*path, key)] = key_at
            items[key] = self._node(next(events), events, (*path, key))
        return items

    def _key(self, event: object, events: Iterator[object], path: Path) -> str:
        key = self._node(event, events, (*path, "<key>"))
        self._place(event)
        if not isinstance(key, str):
            self._stop(f"key {quoted(key)} is not text", "keys are names; quote it if it is meant")
        return str(key)


def _scalar(event: ScalarEvent, at: RuleAt) -> object:
    text = str(event.value)
    if event.style is not None or not event.implicit[0]:
        return Located.of(text, at)
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else Located.of(text, at)
