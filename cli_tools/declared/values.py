"""Take the values of a declared command: each type refuses what a program could read as more than a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cli_tools.command import Access, WithSchema, WorkspacePath
from policies.errors import PolicyError
from policies.hosts import canonical_host

if TYPE_CHECKING:
    from cli_tools.declared.pattern import Pattern

LONGEST_VALUE: Final = 4096
_EXPANDED: Final = "*?[]{}$`~!%\\()<>|&;'\""
"""Read by shells, and by programs that expand for themselves or hand a word on to a shell: wildcards,
variables, templates of names, pipes, redirections, quotes."""


def control_in(text: str) -> bool:
    """Say whether a text holds what is no character to be read: controls, line ends, half a UTF-16 pair."""
    return any(
        ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 or 0xD800 <= ord(character) < 0xE000
        or character in "\u2028\u2029"
        for character in text
    )  # fmt: skip


def _checked(kind: click.ParamType[str], text: str, *, literal: bool) -> str:
    """Return a text that stands for itself, or fail."""
    if not text or len(text) > LONGEST_VALUE:
        kind.fail(f"a value has 1 to {LONGEST_VALUE} characters")
    if control_in(text):
        kind.fail("a value holds no control characters, line ends or bytes that are not UTF-8")
    found = [] if literal else sorted(set(text) & set(_EXPANDED))
    if found:
        kind.fail(
            f"`{found[0]}` may be expanded by the program, or read by a shell; expected a value without it,"
            " or `literal: true` in the declaration where the program reads nothing into it"
        )
    return text


class DeclaredPath(WorkspacePath):
    """Take a path inside the workspace; a program is given it as `./path`, which is no option.

    Args:
        access: Whether the program reads or writes it.
        literal: Whether the program expands nothing in it.
    """

    def __init__(self, access: Access, *, literal: bool) -> None:
        super().__init__(access)
        self._literal = literal

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path, or fail."""
        return _checked(self, super().convert(value, param, ctx), literal=self._literal)


class PatternText(WithSchema):
    """Take a text that a pattern matches whole.

    Args:
        pattern: The pattern.
        literal: Whether the program expands nothing in it.
    """

    name = "text"

    def __init__(self, pattern: Pattern, *, literal: bool) -> None:
        self.pattern = pattern
        self.schema = {"type": "string", "pattern": f"^(?:{pattern.text})$"}
        self._literal = literal

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, or fail."""
        text = _checked(self, str(value), literal=self._literal)
        if not self.pattern.is_whole(text):
            self.fail(f"`{text[:60]}` is not matched whole by `{self.pattern.text}`", param, ctx)
        return text


class HostName(click.ParamType[str]):
    """Take the name or address of a host, in its one canonical form."""

    name = "host"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the host, or fail."""
        try:
            return canonical_host(str(value))
        except PolicyError as error:
            self.fail(f"`{str(value)[:60]}` is no host: {error}", param, ctx)
