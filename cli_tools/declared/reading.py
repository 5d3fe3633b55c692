"""Follow how an interpreter reads its words, and find the values that it could take for program text.

Where it is not known what an option does with the next word, both readings are followed; a value has to be
safe in each. A `with` group is followed with its words and without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import groupby
from posixpath import normpath
from typing import TYPE_CHECKING, Final, Literal

from cli_tools.declared.slots import Slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cli_tools.declared.families import Family

_NAMED: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
"""How a word begins in which what follows is a variable's value, a text."""
_INPUT: Final = re.compile(
    r"(?:/dev/stdin|/dev/fd/0|/proc/(?:self|thread-self|[0-9]+)(?:/task/[0-9]+)?/fd/0|php:/stdin|php:/fd/0)\Z"
)
"""Files whose content is what comes on standard input, at the end of a word whose path is made plain."""
_NO_NAME: Final = re.compile(r"[\s<>'\"()$;&`]")
"""What stands in program text sooner than in a script's name."""
_RUNNERS_TEXT: Final = """
    runpy pdb bdb timeit cProfile profile trace pytest doctest unittest coverage pip code idlelib IPython
    nose tox nox invoke debugpy ipykernel kernprof viztracer memory_profiler zipapp venv build installer
    asyncio pickle sqlite3
"""
_RUNNERS: Final = frozenset(_RUNNERS_TEXT.split())
"""Modules for `python -m` that run what their words name."""

_END: Final = Slot(text="")
"""Stands behind the last word."""

Awaited = Literal["", "code", "module", "other", "plain", "named"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    has_text: bool = False
    """Whether the program is chosen: what follows cannot be it, but for options."""
    is_ended: bool = False
    """Whether what follows is no option."""
    is_closed: bool = False
    """Whether nothing that follows is safe."""
    awaits: Awaited = ""
    """What the next word is to an option before it."""
    more: int = 0
    """Words of that option behind the next."""


def names_input(word: str) -> bool:
    """Say whether a word names standard input as a file, alone or behind something: `-f/dev/stdin`.

    However it is spelt: the kernel reads `/dev//./stdin`, and PHP `PHP://STDIN`, as the same name.
    """
    return _INPUT.search(normpath(word.lower())) is not None


def may_read_program(family: Family, slots: Iterable[Slot]) -> bool:
    """Say whether an argv may leave the choice of the program to standard input, as `sh` alone does."""
    if family.is_fed:
        return True
    *words, (_, states) = _followed(family, (*slots, _END))
    return any(state.is_closed or not state.has_text for state in states) or any(
        _is_input(family, state, slot.text) for slot, before in words if not slot.kind for state in before
    )


def program_texts(family: Family, slots: Iterable[Slot]) -> tuple[str, ...]:
    """Return the words of an argv in which a value would be program text, or name a file that is run."""
    unsafe = {
        slot.text: None
        for slot, states in _followed(family, slots)
        if slot.kind and any(_is_unsafe(family, state, slot) for state in states)
    }
    return tuple(unsafe)


def _followed(family: Family, slots: Iterable[Slot]) -> Iterator[tuple[Slot, set[_State]]]:
    """Yield each word, and all that may be known where it stands."""
    states = {_State(has_text=family.is_fed, is_closed=family.is_closed)}
    for group, members in groupby(slots, key=lambda slot: slot.group):
        before = states
        for slot in members:
            yield slot, states
            states = _after(family, states, slot)
        states = states | before if group >= 0 else states


def _after(family: Family, states: set[_State], slot: Slot) -> set[_State]:
    found = {after for state in states for after in _next(family, state, slot)}
    if slot.may_repeat:
        found |= {after for state in found for after in _next(family, state, slot)}
    return found | states if slot.may_be_missing else found


def _is_unsafe(family: Family, state: _State, slot: Slot) -> bool:
    """Say whether a value in a word could be program text, or the name of a file that is run."""
    if state.is_closed:
        return True
    if state.awaits:
        is_variable = state.awaits == "named" and _NAMED.match(slot.text)
        return not (is_variable or state.awaits == "plain")
    if not state.is_ended and _is_option(family, slot.literal):
        return not (_name(family, slot.literal) in family.plain and "=" in slot.literal)
    return not state.has_text or (family.is_fed and slot.kind == "text")


def _is_input(family: Family, state: _State, word: str) -> bool:
    """Say whether a word hands standard input to an option: its value, joined to it (`-f-`) or behind it.

    A `-` alone behind an option is not counted: it is a separator sooner than a file. Where it would be the
    program, `_chosen` knows it.
    """
    if state.awaits:
        return state.awaits not in ("plain", "named") and names_input(word)
    if state.is_ended or not (_is_option(family, word) or word.startswith("@")):
        return False
    if names_input(word) or word.partition("=")[2] == "-":
        return True
    is_joined = word.endswith("-") and not word.startswith("--")
    return is_joined and f"-{word[-2:-1]}" not in family.glued | family.plain | family.named


def _next(family: Family, state: _State, slot: Slot) -> Iterator[_State]:
    word = slot.literal
    if state.is_closed or (state.is_ended and state.has_text):
        yield state
    elif state.awaits in ("code", "module") and word.startswith("-") and word != "-":
        yield from _next(family, replace(state, awaits=""), slot)
    elif state.awaits == "code":
        yield _chosen(replace(state, awaits=""), word, ends=family.code_ends)
    elif state.awaits == "module":
        runs = word.partition(".")[0] in _RUNNERS
        yield replace(state, awaits="", is_closed=runs, has_text=True, is_ended=True)
    elif state.awaits:
        yield replace(state, more=state.more - 1) if state.more else replace(state, awaits="")
    elif not state.is_ended and word == "--":
        yield replace(state, is_ended=True)
    elif not state.is_ended and _is_option(family, word):
        yield from _optioned(family, state, word)
    else:
        yield _placed(family, state, word)


def _placed(family: Family, state: _State, word: str) -> _State:
    """Return what is known behind a word that is no option, nor an option's."""
    if state.has_text:
        return replace(state, is_ended=state.is_ended or not family.permutes)
    if word in family.closed:
        return replace(state, is_closed=True)
    return state if word in family.runs else _chosen(state, word, ends=not family.permutes)


def _chosen(state: _State, word: str, *, ends: bool) -> _State:
    if word == "-" or (names_input(word) and not _NO_NAME.search(word)):
        return replace(state, is_closed=True)
    return replace(state, has_text=True, is_ended=state.is_ended or ends)


def _is_option(family: Family, word: str) -> bool:
    return (word.startswith("-") and word not in ("-", "--")) or (family.plus and word.startswith("+"))


def _name(family: Family, word: str) -> str:
    """Return an option's name as the tables write it."""
    name = word.partition("=")[0]
    if family.one_dash and name.startswith("--"):
        return name[1:]
    return f"-{name[1:]}" if family.plus and name.startswith("+") else name


def _optioned(family: Family, state: _State, word: str) -> Iterator[_State]:
    name, is_joined = _name(family, word), "=" in word
    known = _known(family, state, name, is_joined=is_joined)
    if known is not None:
        yield known
    elif word.startswith("--") or family.one_dash:
        yield state
        if not is_joined:
            yield replace(state, awaits="other")
    else:
        yield from _together(family, state, word)


def _together(family: Family, state: _State, word: str) -> Iterator[_State]:
    """Follow short options that stand in one word, the last perhaps with its value."""
    for place, letter in enumerate(word[1:], start=2):
        name, rest = f"-{letter}", word[place:]
        if name in family.glued:
            break
        known = _known(family, state, name, is_joined=bool(rest) and family.joins)
        if known is None:
            yield replace(state, awaits="other")
            break
        state = known
        if family.joins and name not in family.flags:
            break
    yield state


def _known(family: Family, state: _State, name: str, *, is_joined: bool) -> _State | None:
    """Return what is known behind an option, whose value may be in its own word; None for an unknown one."""
    if name in family.closed:
        return replace(state, is_closed=True)
    if name in family.flags or name in family.glued:
        return state
    if name in family.code | family.module and is_joined:
        return replace(state, has_text=True, is_ended=state.is_ended or family.code_ends)
    kinds: tuple[tuple[Awaited, frozenset[str]], ...] = (
        ("code", family.code),
        ("module", family.module),
        ("other", family.takes),
        ("plain", family.plain | family.pairs),
        ("named", family.named),
    )
    awaits = next((kind for kind, options in kinds if name in options), None)
    if awaits is None:
        return None
    return state if is_joined else replace(state, awaits=awaits, more=int(name in family.pairs))
