"""Know the options with which a program executes what their value says, of the list of wrapped options."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from cli_tools.declared.families import stem
from cli_tools.declared.slots import befores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cli_tools.declared.slots import Slot

_ENDS: Final = frozenset({";", "\\;", "+"})
"""What ends the words of the program that `find -exec` starts."""
_ANY: Final = "NAME="
"""Stands in the list for every assignment: make(1) puts a variable's value into its recipes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    executing: frozenset[str]
    """Options with a value that decides what is executed."""
    rest: frozenset[str]
    """Those of them that take all words up to a `;` for another program's."""
    known: frozenset[str]
    """All of the list: what is written out is no abbreviation of another."""
    is_bundled: bool
    """Whether the first word may be short options without a dash, whose values follow: `tar xIf`."""


def executed(name: str, slots: Sequence[Slot]) -> Iterator[tuple[str, str]]:
    """Yield each word with a value that decides what is executed, and the option to which it belongs.

    Args:
        name: The program's.
        slots: The words behind it.
    """
    options = _options().get(stem(name, _options()))
    if options is None:
        return
    for place, slot in enumerate(slots):
        found = _joined(options, slot) or _behind(options, slots, place)
        if slot.kind and found:
            yield slot.text, found


@cache
def _options() -> Mapping[str, _Options]:
    text = (files("cli_tools") / "data" / "wrapped_options.toml").read_text("utf-8")
    entries = tomllib.loads(text)["wrapped"]
    names = {name for entry in entries for name in _names(entry)}
    return {name: _of([entry for entry in entries if name in _names(entry)]) for name in names}


def _names(entry: Mapping[str, Any]) -> Sequence[str]:
    return tuple(str(name) for name in entry.get("names", [entry["program"]]))


def _of(entries: Sequence[Mapping[str, Any]]) -> _Options:
    rows = [row for entry in entries for row in entry["options"]]
    bare = {name for entry in entries for name in entry.get("bare", ())}
    executing = frozenset(row["option"] for row in rows if row["can"] == "executes")
    return _Options(
        executing=executing - bare,
        rest=frozenset(name for entry in entries for name in entry.get("rest", ())),
        known=frozenset(row["option"] for row in rows),
        is_bundled=any(entry.get("bundled") for entry in entries),
    )


def _joined(options: _Options, slot: Slot) -> str:
    """Return the option whose value begins in the word: `--to-command={x}`, `CC={x}`, `-oProxy={x}`."""
    name, equals, _ = slot.literal.partition("=")
    if not equals:
        return ""
    if not name.startswith("-"):
        return f"{name}=" if _ANY in options.executing else ""
    if name in options.known or name.startswith("--"):
        return _executing(options, name)
    return _lettered(options, name[1:])


def _behind(options: _Options, slots: Sequence[Slot], place: int) -> str:
    """Return the option that may take the word for its value."""
    before = [slot.literal for slot in slots[:place]]
    if options.is_bundled and (found := _bundled(options, slots, place)):
        return found
    for word in reversed(before):
        if word in _ENDS:
            break
        if word in options.rest:
            return word
    near = (slot.literal for slot in befores(slots, place))
    return next((found for word in near if "=" not in word and (found := _executing(options, word))), "")


def _bundled(options: _Options, slots: Sequence[Slot], place: int) -> str:
    """Return the option that a first word without a dash holds, or that an agent may write there."""
    if place == 0:
        return _lettered(options, "".join(options.executing)) if slots[0].text.startswith("{") else ""
    return _lettered(options, slots[0].literal) if slots[0].literal.isalpha() else ""


def _executing(options: _Options, word: str) -> str:
    """Return the executing option that a word is, is short for, or ends with."""
    if word in options.known:
        return word if word in options.executing else ""
    if word.startswith("--") and word != "--":
        return next((each for each in sorted(options.executing) if each.startswith(word)), "")
    return _lettered(options, word[-1]) if word.startswith("-") and word[1:].isalnum() else ""


def _lettered(options: _Options, letters: str) -> str:
    return next((f"-{letter}" for letter in letters if f"-{letter}" in options.executing), "")
