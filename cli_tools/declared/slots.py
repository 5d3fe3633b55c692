"""Lay a declared argv out flat: each word, what an agent may write in it, and whether it stands there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cli_tools.declared.argv import places
from cli_tools.declared.document import DeclaredGroup

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cli_tools.declared.document import DeclaredCommand

Kind = Literal["", "path", "text"]
"""What stands in a word: nothing that an agent could write code with, a file of the workspace, or a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One word of a declared argv."""

    text: str
    kind: Kind = ""
    given: str = ""
    """The argument that has to be given for the word to be written; empty for always."""
    group: int = -1
    """Which `with` group it belongs to, whose words stand together or not at all; -1 for none."""
    may_be_missing: bool = False
    """Whether it may be no word: it has many values, and none is needed."""
    may_repeat: bool = False

    @property
    def is_certain(self) -> bool:
        """Say whether it stands in every argv that is written."""
        return self.group < 0 and not self.may_be_missing

    @property
    def literal(self) -> str:
        """Return what the file says before the value; all of the word where an agent writes nothing."""
        return self.text.partition("{")[0] if self.kind else self.text


def slots_of(declared: DeclaredCommand) -> tuple[Slot, ...]:
    """Return the words of a declaration, in order."""
    return tuple(
        _slot(declared, str(word), *((item.given, place) if isinstance(item, DeclaredGroup) else ("", -1)))
        for place, item in enumerate(declared.argv)
        for word in (item.words if isinstance(item, DeclaredGroup) else (item,))
    )


def befores(slots: Sequence[Slot], place: int) -> tuple[Slot, ...]:
    """Return the words of which any may stand directly before one."""
    found: list[Slot] = []
    for before in reversed(slots[:place]):
        found.append(before)
        in_one_group = before.group >= 0 and before.group == slots[place].group
        if before.is_certain or (in_one_group and not before.may_be_missing):
            break
    return tuple(found)


def _slot(declared: DeclaredCommand, word: str, given: str, group: int) -> Slot:
    arguments = [declared.arguments[name] for name in places(word) if name in declared.arguments]
    types = {argument.type for argument in arguments}
    return Slot(
        text=word,
        kind=_kind(types),
        given=given,
        group=group,
        may_be_missing=any(argument.many and not argument.is_required for argument in arguments),
        may_repeat=any(argument.many for argument in arguments),
    )


def _kind(types: Collection[str]) -> Kind:
    """The values of an enum are the file's and a number is no code; a host's name may be one of a program."""
    return "text" if {"pattern", "host"} & {*types} else "path" if "path" in types else ""
