"""Write a program's argv from a fixed template and checked values: what is a word stays one word.

A word of the template is literal text with at most one value in it: `--width={width}`, or `{path}` alone.
Words in a `with` group are written only when its argument is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cli_tools.errors import UsageError

Values = Mapping[str, object]
_PLAIN_VALUE: Final = "expected a plain value"
_OR_LITERAL: Final = "; the declaration may say `literal: true` where the program reads nothing into it"
_PLACE: Final = re.compile(r"\{([a-z][a-z0-9]*)\}")
_STARTS: Final = "-@+~"
"""What begins an option, or the name of a response file that a program reads more arguments from."""
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./ ")
_ASSIGNS: Final = "="
"""What makes a word an assignment: `CC=x` for make(1), `of=x` for dd(1), a variable for env(1) and awk(1)."""
_LEADS_AWAY: Final = ":"
"""What makes a text the address of something else: `file://x`, `ext::x` for git(1), `host:x` for rsync(1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of a template."""

    before: str
    """Literal text before the value; all of the word where it holds none."""
    argument: str = ""
    """The argument whose value stands here; empty for none."""
    after: str = ""
    given: str = ""
    """The argument that has to be given for the word to be written; empty for always."""
    behind_dashes: bool = False
    """Whether the word stands behind a `--` that ends the program's options."""

    @property
    def opens(self) -> bool:
        """Say whether the value is an option's whole value, or begins it: `--data={x}`."""
        return self.before.endswith("=")

    @property
    def begins(self) -> bool:
        """Say whether the value begins the word, or what the program may take out of it: `-Wl,{x}`."""
        return not self.before or self.before[-1] not in _PLAIN - {" "} | {"="}

    def separators(self, form: Form) -> frozenset[str]:
        """Return what the program may take the word apart by: a value in the word holds none of it.

        Where the word goes on, a `/` may end the value too early, as in `s/x/{value}/`, and so may a space.
        """
        parts = set("/ ") if self.after and not form.is_path else set[str]()
        if " " in self.before + self.after and not form.literal:
            parts.add(" ")
        return frozenset(self.before + self.after) - (_PLAIN - parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How an argument's values are written."""

    is_path: bool = False
    is_text: bool = False
    """Whether it is neither a number, a path, a host nor one of some texts."""
    literal: bool = False
    """Whether the program takes a value as it is: it reads nothing into it but a `-` at its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A program's argv before its values are known."""

    program: str
    words: tuple[Word, ...]
    forms: Mapping[str, Form]
    """Each argument that stands in a word."""

    def written(self, values: Values) -> tuple[str, ...]:
        """Return the argv.

        Args:
            values: Argument -> value, a tuple of them, or None where it is not given.

        Raises:
            UsageError: When a value could be read as more than a value.
        """
        return (self.program, *(text for word in self.words for text in self._texts(word, values)))

    def _texts(self, word: Word, values: Values) -> Iterator[str]:
        if word.given and not _is_given(values.get(word.given)):
            return
        if not word.argument:
            yield word.before
            return
        value = values.get(word.argument)
        for member in value if isinstance(value, tuple) else (value,):
            yield word.before + self._value(word, str(member)) + word.after

    def _value(self, word: Word, text: str) -> str:
        form = self.forms[word.argument]
        if form.is_path:
            text = text if text == "." else f"./{text.removeprefix('./')}"
        allowed = (
            "-" if word.behind_dashes and (text != "-" or form.literal) else ""
        )  # alone it is standard input
        first = text[:1]
        is_more = first in _STARTS and first not in allowed if word.begins else word.opens and first == "@"
        if is_more and not _is_safe(text, form):
            why = f"`{text[:60]}` begins with `{text[0]}`, which the program may read as more"
            raise _refused(word, why, more="" if first == "-" else _OR_LITERAL)
        if found := sorted(word.separators(form) & set(text)):
            raise _refused(word, f"`{text[:60]}` holds `{found[0]}`, at which the program may take it apart")
        if found := sorted(_read_into(word, form) & set(text)):
            why = f"`{text[:60]}` holds `{found[0]}`, which the program may read as more"
            raise _refused(word, why, more=_OR_LITERAL)
        return text


def _is_safe(text: str, form: Form) -> bool:
    return form.literal and text[0] != "-"


def _read_into(word: Word, form: Form) -> frozenset[str]:
    """Return what makes a text more than a text at the place where it stands."""
    if form.literal or not form.is_text:
        return frozenset()
    return frozenset(_ASSIGNS * word.begins + _LEADS_AWAY * (word.begins or word.opens))


def _is_given(value: object) -> bool:
    return value is not None and value is not False and value != ()


def _refused(word: Word, why: str, *, more: str = "") -> UsageError:
    return UsageError("usage", f"`{word.argument}`: {why}", hint=_PLAIN_VALUE + more)


def places(text: str) -> tuple[str, ...]:
    """Return the arguments whose values stand in a word, in order."""
    return tuple(_PLACE.findall(text))


def word_of(text: str, *, given: str, behind_dashes: bool) -> Word:
    """Read a word of a template, which holds one value at most."""
    found = _PLACE.search(text)
    if found is None:
        return Word(before=text, given=given, behind_dashes=behind_dashes)
    return Word(
        before=text[: found.start()],
        argument=found[1],
        after=text[found.end() :],
        given=given,
        behind_dashes=behind_dashes,
    )
