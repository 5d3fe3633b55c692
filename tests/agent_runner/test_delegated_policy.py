"""The policy of a delegated session: what cannot be joined is refused with a mend that an agent can use."""

from __future__ import annotations

import pytest

from agent_runner.budget_limits import limits_of_policy
from agent_runner.delegation import policy_below
from cli_tools.delegate import Errand
from cli_tools.errors import ActionError
from policies.source import parse_policy


@pytest.mark.parametrize(("image", "refused"), [("my/own", True), ("pairlock/starter", False)])
def test_a_library_policy_of_another_image_is_refused_with_its_mend(image: str, *, refused: bool) -> None:
    text = f"version: 1\nname: p\ngrant: [files, exec]\nexec: {{image: {image}, programs: [pytest]}}\n"
    policy = parse_policy(text, origin="p.yaml")
    errand = Errand(action="", task="t", grant=None, policy="fix-tests", turns=None)

    if not refused:
        below = policy_below(policy, errand, limits_of_policy(policy), {})
        assert below.exec is not None
        assert below.exec.programs.names == ("pytest",)
        return
    with pytest.raises(ActionError) as error:
        policy_below(policy, errand, limits_of_policy(policy), {})
    assert (error.value.code, error.value.hint) == (
        "delegation",
        "leave `--policy` out; `--grant` narrows too",
    )
