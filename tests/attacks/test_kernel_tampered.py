"""A session whose container was made otherwise than asked for: nothing is done, and the ledger says why."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from agent_runner.cli.exits import Exit, exit_code
from sandbox.docker_engine import DockerEngine
from sandbox.docker_request import create_request
from sandbox.errors import AttestationError
from tests.promises.conftest import lab  # noqa: F401 - the fixture
from tests.sandbox.live import still_there

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.spec import ContainerSpec
    from tests.promises.conftest import Lab

pytestmark = pytest.mark.engine
POLICY = """
version: 1
name: tampered
grant: [exec]
exec: {programs: any}
commands: {allow: [run]}
"""


def entries(state: Path) -> list[dict[str, Any]]:
    """Return every entry of the session's ledger."""
    (path,) = state.glob("sessions/*/events.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def kinds(state: Path) -> list[str]:
    """Return the types of all entries."""
    return [str(entry["type"]) for entry in entries(state)]


@pytest.mark.parametrize(
    ("member", "value"),
    [("ReadonlyRootfs", False), ("PidsLimit", 9999), ("GroupAdd", ["0"]), ("IpcMode", "host")],
)
def test_a_tampered_container_is_destroyed_before_the_first_action(
    lab: Lab,  # noqa: F811 - the fixture
    new_state: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
    member: str,
    value: object,
) -> None:
    """Exit 4, one line, the evidence in the ledger, no container left, and the agent never had its turn."""
    state, made = new_state(), list[str]()

    async def create(self: DockerEngine, spec: ContainerSpec) -> str:
        request: dict[str, Any] = create_request(spec)
        request["HostConfig"][member] = value
        reply = await self._ask(lambda client: client.create_container_from_config(request, spec.name))
        made.append(str(reply["Id"]))
        return made[0]

    monkeypatch.setattr(DockerEngine, "create", create)

    with pytest.raises(AttestationError) as caught:
        lab.run(POLICY, ["run echo never"], state=state)

    (attested,) = [entry["body"] for entry in entries(state) if entry["type"] == "sandbox.attested"]
    seen = {piece["check"]: (piece["expected"], piece["observed"]) for piece in attested["evidence"]}
    assert exit_code(caught.value) is Exit.SANDBOX
    assert "\n" not in caught.value.message
    assert attested["verdict"] == "differs"
    assert seen[f"HostConfig.{member}"][0] != seen[f"HostConfig.{member}"][1]
    assert not any(kind.startswith("action.") for kind in kinds(state))
    assert len(made) == 1
    assert not asyncio.run(still_there(made[0]))


def test_an_untouched_container_is_attested_and_acts(lab: Lab) -> None:  # noqa: F811 - the fixture
    """The twin, with as many pieces of evidence and all of them holding."""
    ran = lab.run(POLICY, ["run echo it ran"])

    (attested,) = ran.entries("sandbox.attested")
    assert attested["verdict"] == "as granted"
    assert len(attested["evidence"]) > 50
    assert "it ran" in ran.seen[0].text
