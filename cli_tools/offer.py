"""Say which commands a policy offers: within its grant, and allowed or asked for by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from cli_tools.action import Catalogue
    from cli_tools.command import Command
    from policies.policy import Policy

ALWAYS: Final = ("finish",)
"""A command of every grant."""

Standing = Literal["allowed", "asks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One command that a session may propose."""

    command: Command
    standing: Standing
    """Whether it is decided by rules alone, or a person is asked each time."""


def offers(catalogue: Catalogue, policy: Policy) -> tuple[Offer, ...]:
    """Return what a policy offers, in the catalogue's order; each action is still decided by itself."""
    found = ((command, _standing(command, policy)) for command in catalogue.commands)
    return tuple(Offer(command=command, standing=standing) for command, standing in found if standing)


def _standing(command: Command, policy: Policy) -> Standing | None:
    rules = policy.commands
    if not command.needs <= policy.grant.capabilities:
        return None
    if any(pattern.matches(command.path) for pattern in rules.deny):
        return None
    if command.path == ALWAYS:
        return "allowed"
    if any(pattern.matches(command.path) for pattern in rules.ask):
        return "asks"
    return "allowed" if any(pattern.matches(command.path) for pattern in rules.allow) else None
