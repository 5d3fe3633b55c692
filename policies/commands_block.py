"""The block `commands`: what the agent is offered, and the bounds on arguments and calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from policies.block import Block
from policies.leaves import ArgumentValues, CommandField, CountField

if TYPE_CHECKING:
    from policies.errors import RuleAt


class ArgumentRule(Block):
    """A bound on one command's arguments and calls; every rule that names a command has to hold."""

    command: CommandField = Field(description="the command, or a group")
    arguments: ArgumentValues = Field(
        default={}, validate_default=True, description="argument -> the values it may have, whole"
    )
    sink_pattern: ArgumentValues = Field(
        default={}, validate_default=True, description="the same, where a pattern may choose where data goes"
    )
    max_calls: CountField | None = Field(default=None, description="calls of this command in one session")

    @property
    def at(self) -> RuleAt | None:
        """Where the rule was written."""
        return self.command.at


class CommandsBlock(Block):
    """The commands that the agent is offered. deny wins over ask, ask over allow, whatever the order."""

    allow: tuple[CommandField, ...] = Field(
        default=(), description="what may be called; empty is only `finish`"
    )
    ask: tuple[CommandField, ...] = Field(default=(), description="what a person has to approve, each time")
    deny: tuple[CommandField, ...] = Field(default=(), description="never these, whatever else is written")
    rules: tuple[ArgumentRule, ...] = Field(default=(), description="bounds on arguments and calls")
    origins: tuple[ArgumentRule, ...] | None = Field(
        default=None,
        description="the destinations that are fixed, those that `rules` name when absent; "
        "written by joining policies",
    )

    @property
    def fixing(self) -> tuple[ArgumentRule, ...]:
        """The rules whose values fix where data goes."""
        return self.rules if self.origins is None else self.origins
