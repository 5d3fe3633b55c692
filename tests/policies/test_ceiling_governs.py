"""Every setting of a ceiling takes something away: one that governs nothing would deceive the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from policies.block import Block
from policies.capability import Capability
from policies.ceiling import Ceiling, parse_ceiling, under_ceiling
from policies.decide import decide
from policies.errors import CeilingError, PolicyFileError, RuleAt
from policies.request import ActionRequest, Denied, HttpUse, PathUse, SessionFacts
from policies.source import parse_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

POLICY = """version: 1
name: p
grant: [{grant}]
{blocks}
commands: {{allow: ["files *", "http *", run, x]}}
"""
FILES = "files: {access: stage}"
NETWORK = (
    "network: {allow: [{host: a.com, methods: [GET, POST], credential: c, data: public, private: true}]}"
)
EXEC = "exec: {image: pairlock/starter, programs: any, contents: public}"
GOVERNS = {
    "grants": "[[files], [exec]]",
    "files.access": "read",
    "files.hide": "[seen]",
    "files.protect": "[seen]",
    "network.hosts": "[b.com]",
    "network.deny": "[a.com]",
    "network.methods": "[GET]",
    "network.private": "false",
    "network.data_public": "false",
    "network.sent_bytes": "1B",
    "network.received_bytes": "1B",
    "network.requests": "1",
    "exec.images": "[other/image]",
    "exec.any_program": "false",
    "commands.deny": "[x]",
    "sinks": "strict",
    "isolation.runtime": "gvisor",
    "isolation.memory": "64MiB",
    "isolation.cpus": "0.5",
    "isolation.processes": "9",
    "isolation.scratch": "2MiB",
    "budget.turns": "1",
    "budget.tokens": "1",
    "budget.input_tokens": "1",
    "budget.output_tokens": "1",
    "budget.cached_tokens": "1",
    "budget.actions": "1",
    "budget.cost_usd": "0.5",
    "budget.wall_time": "1s",
}


def _settings(model: type[Block], above: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Block):
            yield from _settings(kind, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def _ceiling(setting: str, value: str) -> Ceiling:
    block, _, name = setting.rpartition(".")
    line = f"{block}: {{{name}: {value}}}" if block else f"{name}: {value}"
    return parse_ceiling(f"version: 1\n{line}\n", origin="ceiling.yaml")


def _asking(method: str) -> ActionRequest:
    return ActionRequest(command=("x",), http=(HttpUse(method, "https://a.com/"),))


def _touching(access: Literal["read", "write"]) -> ActionRequest:
    return ActionRequest(command=("x",), paths=(PathUse("seen", access),))


def test_each_setting_of_a_ceiling_is_tried_below() -> None:
    assert set(_settings(Ceiling)) - {"version"} == set(GOVERNS)


@pytest.mark.parametrize(("setting", "value"), GOVERNS.items())
def test_a_setting_of_the_ceiling_takes_something_away_or_refuses(setting: str, value: str) -> None:
    """No setting is accepted and forgotten; the ceiling without it leaves both policies as they are."""
    policies = [
        parse_policy(POLICY.format(grant=grant, blocks=blocks), origin="p.yaml")
        for grant, blocks in (("files, network", f"{FILES}\n{NETWORK}"), ("exec", EXEC))
    ]
    nothing = parse_ceiling("version: 1", origin="ceiling.yaml")
    assert [under_ceiling(policy, nothing).digest for policy in policies] == [p.digest for p in policies]

    taken = 0
    for policy in policies:
        try:
            taken += under_ceiling(policy, _ceiling(setting, value)).digest != policy.digest
        except (CeilingError, PolicyFileError):
            taken += 1

    assert taken


@pytest.mark.parametrize(
    ("setting", "value", "request_", "column"),
    [
        ("grants", "[[exec]]", ActionRequest(command=("x",), needs=frozenset({Capability.FILES})), 9),
        ("files.access", "read", _touching("write"), 17),
        ("files.hide", "[b, seen]", _touching("read"), 19),
        ("files.protect", "[seen]", _touching("write"), 19),
        ("network.hosts", "[b.com]", _asking("GET"), 18),
        ("network.deny", "[b.com, a.com]", _asking("GET"), 25),
        ("network.methods", "[GET]", _asking("POST"), 20),
        ("commands.deny", "[y, x]", ActionRequest(command=("x",)), 22),
    ],
)
def test_what_is_beyond_the_ceiling_is_denied_whatever_the_policy_says(
    setting: str, value: str, request_: ActionRequest, column: int
) -> None:
    """The reason has the code `ceiling` and names its line; without a ceiling the action is not denied."""
    text = POLICY.format(grant="files, network", blocks=f"{FILES}\n{NETWORK}")
    policy = parse_policy(text, origin="p.yaml")
    task = "see https://a.com/"
    free = SessionFacts(grant=policy.grant, task=task)
    held = SessionFacts(grant=policy.grant, task=task, ceiling=_ceiling(setting, value))

    decision = decide(policy, held, request_)

    assert not isinstance(decide(policy, free, request_), Denied)
    assert isinstance(decision, Denied)
    assert [reason.code for reason in decision.reasons] == ["ceiling"]
    assert decision.reasons[0].rule == RuleAt("ceiling.yaml", 2, column)
