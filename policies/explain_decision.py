"""Say why one action is decided as it is: the verdict, each reason, its rule and its mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.expectations import verdict_of
from policies.request import Allowed, Decision, Denied, NeedsApproval
from policies.wording import quoted, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.canonical import Plain
    from policies.request import ActionRequest, Reason


def explain_decision(request: ActionRequest, decision: Decision, *, width: int = 100) -> str:
    """Say why one action is decided as it is.

    Args:
        request: The action.
        decision: What was decided.
        width: The longest line, in characters.

    Returns:
        The verdict on the first line, then each reason with its rule and mend.
    """
    match decision:
        case Allowed():
            rule = f" by the rule at {decision.rule}" if decision.rule else ""
            hosts = (f"  its request by the rule at {edge.at or 'the policy'}" for edge in decision.egress)
            return "\n".join((f"{quoted(request.name)} is allowed{rule}", *hosts))
        case NeedsApproval():
            head = f"{quoted(request.name)} needs a person's approval; headless it is denied"
        case Denied():
            head = f"{quoted(request.name)} is denied"
    return "\n".join((head, *(line for item in decision.reasons for line in _reason(item, width))))


def _reason(reason: Reason, width: int) -> Iterator[str]:
    yield wrapped(f"{reason.code}: {reason.message}", "  ", width=width)
    if reason.rule:
        yield f"    rule: {reason.rule}"
    if reason.hint:
        yield wrapped(f"hint: {reason.hint}", "    ", width=width)


def decision_as_plain(request: ActionRequest, decision: Decision) -> Plain:
    """Write one decision as plain values for JSON.

    Args:
        request: The action.
        decision: What was decided.

    Returns:
        The verdict, and the reasons with their codes, rules and mends.
    """
    reasons = () if isinstance(decision, Allowed) else decision.reasons
    return {
        "action": request.name,
        "decided": verdict_of(decision),
        "rule": str(decision.rule) if isinstance(decision, Allowed) and decision.rule else None,
        "reasons": [
            {
                "code": reason.code,
                "message": reason.message,
                "hint": reason.hint,
                "rule": str(reason.rule) if reason.rule else None,
            }
            for reason in reasons
        ],
    }
