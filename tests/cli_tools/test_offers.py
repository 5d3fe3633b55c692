"""What a policy offers is what it may be asked for, by name and by grant."""

from __future__ import annotations

import pytest

from cli_tools.action import LineProposal
from cli_tools.catalogue import built_in
from cli_tools.offer import offers
from policies.decide import decide
from policies.grant import Grant
from policies.request import Allowed, Denied, NeedsApproval, SessionFacts
from policies.source import parse_policy

CATALOGUE = built_in()


def policy_text(grant: Grant) -> str:
    names = ", ".join(capability.value for capability in grant.capabilities)
    return f"""version: 1
name: x
grant: [{names}]
commands:
  allow: ["files *", "git *", run, "http *"]
  ask: [files write, http post]
  deny: [files remove]
"""


@pytest.mark.parametrize("grant", list(Grant), ids=lambda grant: grant.label)
def test_what_is_not_offered_is_denied_and_what_is_offered_is_not_denied_by_name(grant: Grant) -> None:
    """For every grant and every command: the offer and the decision never contradict each other."""
    text = policy_text(grant)
    if "exec" in grant.label:
        text += "exec: {programs: any" + (", contents: public" if "network" in grant.label else "") + "}\n"
    if "network" in grant.label:
        text += "network: {allow: [{host: api.example.com, methods: [GET, HEAD, POST, PUT, DELETE]}]}\n"
    policy = parse_policy(text, origin="x.yaml")
    facts = SessionFacts(grant=grant, headless=False)
    standing = {offer.command.name: offer.standing for offer in offers(CATALOGUE, policy)}

    for command in CATALOGUE.commands:
        decision = decide(policy, facts, CATALOGUE.parse(LineProposal(line=command.examples[0])).request())
        codes = {reason.code for reason in getattr(decision, "reasons", ())}
        if command.name not in standing:
            assert isinstance(decision, Denied)
            assert codes & {"capability", "command"}
        elif standing[command.name] == "asks":
            assert isinstance(decision, NeedsApproval | Denied)
            assert "capability" not in codes
        else:
            assert isinstance(decision, Allowed) or not codes & {"capability", "command"}
