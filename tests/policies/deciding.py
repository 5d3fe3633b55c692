"""What the tests of decisions share: a policy from a few lines, an action, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.capability import Capability
from policies.decide import decide
from policies.request import ActionRequest, Allowed, Decision, SessionFacts
from policies.source import parse_policy

if TYPE_CHECKING:
    from policies.policy import Policy

F, N, E = Capability.FILES, Capability.NETWORK, Capability.EXEC


def policy_of(body: str, *, grant: str = "[files, network]") -> Policy:
    """Make a policy from what follows its grant."""
    return parse_policy(f"version: 1\nname: p\ngrant: {grant}\n{body}", origin="p.yaml")


def decided(policy: Policy, request: ActionRequest, **facts: object) -> Decision:
    """Decide on an action, in a session that holds what its policy grants, with somebody to ask."""
    session = SessionFacts(**{"grant": policy.grant, "headless": False, **facts})  # type: ignore[arg-type]  # test data
    return decide(policy, session, request)


def codes_of(decision: Decision) -> tuple[str, ...]:
    """Return the codes of a decision's reasons; none for what is allowed."""
    return () if isinstance(decision, Allowed) else tuple(reason.code for reason in decision.reasons)


def act(*command: str, needs: frozenset[Capability] = frozenset(), **more: object) -> ActionRequest:
    """Make an action."""
    return ActionRequest(command=command, needs=needs, **more)  # type: ignore[arg-type]  # test data
