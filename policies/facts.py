"""What is known about the commands that exist, handed in as data by whoever declares them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from policies.capability import Capability
    from policies.request import SinkKind

Role = Literal["value", "read", "write", "url", "program"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentFacts:
    """One argument of a command.

    Attributes:
        name: Its name: `--name` on a command line, unless positional.
        role: What its value is: a workspace path read or written, a URL, argv[0] of a program, or neither.
        sink: How its values are compared, if they decide where data goes.
        positional: Whether it stands without `--name`.
        many: Whether it takes every word that is left, or may be repeated.
        flag: Whether it takes no value.
        spelt: How it is written on a line, where that is not its name: `path` for `paths`.
    """

    name: str
    role: Role = "value"
    sink: SinkKind | None = None
    positional: bool = False
    many: bool = False
    flag: bool = False
    spelt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFacts:
    """One command.

    Attributes:
        path: Its words, for example `("files", "read")`.
        needs: The capabilities that it exercises.
        arguments: Its arguments; positional ones in order.
        method: The method of the request that it makes, if it makes one.
        summary: One sentence on what it does, for `explain`.
        program: argv[0] of the program whose text the agent supplies, where the command fixes it.
    """

    path: tuple[str, ...]
    needs: frozenset[Capability]
    arguments: tuple[ArgumentFacts, ...] = ()
    method: str | None = None
    summary: str = ""
    program: str | None = None

    @property
    def name(self) -> str:
        """The command as people write it."""
        return " ".join(self.path)

    @property
    def sinks(self) -> tuple[ArgumentFacts, ...]:
        """The arguments that decide where data goes."""
        return tuple(argument for argument in self.arguments if argument.sink is not None)

    def argument(self, name: str) -> ArgumentFacts | None:
        """Find an argument by its name.

        Args:
            name: The name, without dashes.

        Returns:
            The argument, or None.
        """
        return next((argument for argument in self.arguments if argument.name == name), None)

    def option(self, spelt: str) -> ArgumentFacts | None:
        """Find an option by the word that it is written with.

        Args:
            spelt: The word, without dashes.

        Returns:
            The option, or None.
        """
        options = (argument for argument in self.arguments if not argument.positional)
        return next((option for option in options if spelt == (option.spelt or option.name)), None)
