"""Run the battery in real containers, and see it find a sandbox whose protections were taken away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_runner.probing import _spec, probe
from agent_runner.state_label import state_label
from policies.grant import Grant
from sandbox.docker_engine import DockerEngine
from sandbox.errors import AttestationError
from sandbox.probing.battery import run_battery

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.probing.probe import Result
    from sandbox.spec import ContainerSpec

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[3]


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass


async def changed(
    built: Path, grant: Grant, change: Callable[[ContainerSpec], ContainerSpec]
) -> list[Result]:
    """Run the battery in sandboxes of a changed spec."""
    engine = await DockerEngine.connect()
    try:
        facts = await engine.describe()
        session = f"probe-{os.urandom(6).hex()}"
        spec = await _spec(engine, facts, grant, "runc", session=session, state=built, progress=_quiet)
        return [result async for result in run_battery(engine, change(spec), local=True)]
    finally:
        await engine.close()


@pytest.mark.parametrize("grant", [Grant.FILES, Grant.NETWORK_EXEC], ids=lambda grant: grant.label)
async def test_nothing_gets_through(built: Path, grant: Grant) -> None:
    """The whole battery under runc, for two grants that share nothing; the long test below takes them all."""
    results = await changed(built, grant, lambda spec: spec)

    wrong = [result.as_json() for result in results if result.standing != "as expected"]
    assert wrong == []
    assert len(results) >= 60
    assert {result.expected for result in results} >= {"allowed", "refused"}


async def test_the_battery_finds_a_scratch_that_is_executable(built: Path) -> None:
    """The twin of noexec: without it, code of the agent's can be mapped."""

    def change(spec: ContainerSpec) -> ContainerSpec:
        return replace(
            spec, tmpfs={place: text.replace("noexec", "exec") for place, text in spec.tmpfs.items()}
        )

    results = await changed(built, Grant.NONE, change)

    through = {result.probe.name for result in results if result.standing == "got through"}
    places = ("scratch", "shared_memory")
    assert through == {f"map_{place}_as_code" for place in places} | {
        f"turn_{place}_into_code" for place in places
    }


@pytest.mark.long
async def test_the_battery_finds_limits_that_are_no_longer_there(built: Path) -> None:
    """The twins of the limits: with more of everything than the bombs take, the bombs succeed."""

    def change(spec: ContainerSpec) -> ContainerSpec:
        bounds = spec.tmpfs["/tmp"].replace("nr_inodes=1024", "nr_inodes=1048576")
        return replace(spec, processes=2000, memory_bytes=4 << 30, tmpfs={**spec.tmpfs, "/tmp": bounds})

    results = await changed(built, Grant.NONE, change)

    through = {result.probe.name for result in results if result.standing == "got through"}
    assert through == {"fill_names", "fork_bomb", "memory_bomb"}


async def test_a_guest_told_of_more_than_its_grant_is_never_probed(built: Path) -> None:
    """A spec that says `--exec` without the grant does not come to the battery: attestation ends it."""

    def change(spec: ContainerSpec) -> ContainerSpec:
        return replace(spec, entrypoint=(*spec.entrypoint[:-1], "--exec", spec.entrypoint[-1]))

    with pytest.raises(AttestationError) as caught:
        await changed(built, Grant.NONE, change)

    assert "try execve" in [piece.check for piece in caught.value.differences]


async def test_a_battery_that_is_left_early_leaves_no_container(new_state: Callable[[], Path]) -> None:
    """Batteries run side by side; who stops listening ends them all."""
    state = new_state()
    results = probe(state, progress=_quiet, grants=(Grant.NONE, Grant.FILES))
    async for _ in results:
        break

    await results.aclose()

    engine = await DockerEngine.connect()
    left = await engine.owned(state=state_label(state))
    gone = [
        await engine.wait_gone(found.container_id, timeout_seconds=30)  # the engine may still be removing it
        for found in left
        if found.session.startswith("probe-")
    ]
    await engine.close()
    assert all(gone)


@pytest.mark.long
@pytest.mark.gvisor
def test_doctor_prints_one_object_for_each_result(built: Path) -> None:
    """`pairlock doctor --probe --json` is a list, nothing else is on stdout, and 0 means that all is well."""
    ran = subprocess.run(
        [sys.executable, "-m", "agent_runner", "doctor", "--probe", "--json"],
        cwd=ROOT,
        env={**os.environ, "PAIRLOCK_STATE": str(built)},
        capture_output=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout[-2000:]
    results = json.loads(ran.stdout)
    assert {tuple(sorted(result)) for result in results} == {
        ("expected", "grant", "observed", "probe", "runtime", "stopped_by")
    }
    assert {result["grant"] for result in results} == {grant.label for grant in Grant}
    assert {"runc", "runsc"} <= {result["runtime"] for result in results}
    tried = {(result["grant"], result["runtime"]): 0 for result in results}
    for result in results:
        tried[result["grant"], result["runtime"]] += 1
    assert min(tried.values()) >= 60
    assert all(
        {"allowed", "refused"} <= {result["expected"] for result in results if result["grant"] == grant.label}
        for grant in Grant
    )
