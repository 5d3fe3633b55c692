"""An engine that holds no bounds is refused, whatever it says of the request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent_runner.fitness import require_fit
from policies.source import parse_policy
from sandbox.docker_engine import DockerEngine
from sandbox.errors import EngineUnfitError

POLICY = "version: 1\nname: p\ngrant: [files]\n"


@pytest.mark.engine
@pytest.mark.parametrize("missing", [("memory",), ("memory", "swap", "processes", "cpus")], ids=str)
async def test_an_engine_that_holds_no_bounds_is_refused(missing: tuple[str, ...]) -> None:
    """Rootless without cgroups: it takes the request, warns of nothing, bounds nothing (tried by hand)."""
    engine = await DockerEngine.connect()
    try:
        facts = await engine.describe()
    finally:
        await engine.close()
    policy = parse_policy(POLICY, origin="p.yaml")

    assert facts.unbounded == ()
    assert require_fit(policy, facts) == facts.default_runtime
    with pytest.raises(EngineUnfitError, match=f"cannot bound {', '.join(missing)}, and no session"):
        require_fit(policy, replace(facts, unbounded=missing))
