"""How a policy names commands and their arguments' values. What commands exist is handed in elsewhere."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from policies.errors import BadValueError, RuleAt
from policies.wording import quoted

_WORD = re.compile(r"[a-z][a-z0-9_-]{0,63}")
LONGEST_VALUE: Final = 2048
FINISH: Final = ("finish",)  # how a session says that it is done; a command of every grant


@dataclass(frozen=True, slots=True)
class CommandPattern:
    """A command that a rule names: its words whole, or a group and every command in it.

    Attributes:
        text: `files read`, or `files *`.
        at: Where it was written; does not count when two are compared.
        words: The words, without the star.
        is_group: Whether a star ends the pattern.
    """

    text: str
    at: RuleAt | None = field(default=None, compare=False)
    words: tuple[str, ...] = field(init=False, compare=False, repr=False)
    is_group: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Take the text apart, so that there is no pattern without its words."""
        words = self.text.split(" ")
        is_group = words[-1] == "*"
        plain = tuple(words[:-1] if is_group else words)
        if is_group and not plain:
            raise BadValueError("command `*` allows whatever exists", hint="name each group, as in `files *`")
        if not all(_WORD.fullmatch(word) for word in plain):
            raise BadValueError(
                f"{quoted(self.text)} is not a command",
                hint="words with one space between, as in `files read` or `files *`; "
                "`rules` and `programs` bound what follows",
            )
        object.__setattr__(self, "words", plain)
        object.__setattr__(self, "is_group", is_group)

    @classmethod
    def parse(cls, text: str, *, at: RuleAt | None = None) -> CommandPattern:
        """Read a pattern.

        Args:
            text: Words with one space between, the last of them perhaps `*`.
            at: Where it was written.

        Returns:
            The pattern.

        Raises:
            BadValueError: When it is a bare `*`, or words are not command words.
        """
        return cls(text, at)

    def matches(self, command: tuple[str, ...]) -> bool:
        """Tell whether a command is meant.

        Args:
            command: Its words, for example `("files", "read")`.

        Returns:
            True when all words are the same, or the command lies in the group.
        """
        if self.is_group:
            return len(command) > len(self.words) and command[: len(self.words)] == self.words
        return command == self.words

    def meet(self, other: CommandPattern) -> CommandPattern | None:
        """Keep the commands that both mean.

        Args:
            other: The other pattern.

        Returns:
            The narrower one, or None when they have no command in common.
        """
        if self.text == other.text or other._covers(self):
            return self
        return other if self._covers(other) else None

    def _covers(self, other: CommandPattern) -> bool:
        depth = len(self.words)
        return self.is_group and len(other.words) > depth and other.words[:depth] == self.words


@dataclass(frozen=True, slots=True)
class ValuePattern:
    """A value that an argument may have: whole and exact, or with `*` for any run of characters.

    Attributes:
        text: The value in Unicode NFC.
        at: Where it was written; does not count when two are compared.
    """

    text: str
    at: RuleAt | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Refuse what constrains nothing, and bring the text into NFC."""
        if not self.text or len(self.text) > LONGEST_VALUE:
            raise BadValueError(
                f"{quoted(self.text)} is not a value", hint=f"1 to {LONGEST_VALUE} characters"
            )
        if not self.text.strip("*"):
            raise BadValueError(
                f"value {quoted(self.text)} constrains nothing",
                hint="leave the argument out, or name values",
            )
        object.__setattr__(self, "text", unicodedata.normalize("NFC", self.text))

    @classmethod
    def parse(cls, text: str, *, at: RuleAt | None = None) -> ValuePattern:
        """Read a value.

        Args:
            text: The value; a bare `*` is refused, because it constrains nothing.
            at: Where it was written.

        Returns:
            The value.

        Raises:
            BadValueError: When it is empty, a bare `*` or too long.
        """
        return cls(text, at)

    @property
    def is_wild(self) -> bool:
        """Whether more than one value is meant."""
        return "*" in self.text

    def matches(self, value: str) -> bool:
        """Tell whether a value is meant.

        Args:
            value: The argument's value.

        Returns:
            True when the whole value matches, letters' case included.
        """
        normal = unicodedata.normalize("NFC", value)
        return _compiled(self.text).fullmatch(normal) is not None if self.is_wild else normal == self.text


@lru_cache(maxsize=1024)
def _compiled(text: str) -> re.Pattern[str]:
    first, *rest = [re.escape(piece) for piece in re.split(r"\*+", text)]
    middle = "".join(f"(?>.*?{piece})" for piece in rest[:-1] if piece)
    return re.compile(f"{first}{middle}.*{rest[-1]}" if rest else first, re.DOTALL)
