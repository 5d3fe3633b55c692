"""Engines that map user ids: a session there owns a copy; where an engine holds no bounds, there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_runner.container import require_fit
from policies.source import parse_policy
from sandbox.docker_engine import DockerEngine
from sandbox.errors import EngineUnfitError
from tests.promises.life import SCRIPT, Session, busybox_tar
from tests.promises.second_engine import SecondEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = "pairlock-test/busybox:latest"
POLICY = "version: 1\nname: p\ngrant: [files]\n"


@pytest.fixture
def remapping() -> Iterator[SecondEngine]:
    """Start an engine with `userns-remap`; it makes a user for that, who is removed."""
    known = Path("/etc/passwd").read_text()
    engine = SecondEngine("--userns-remap=default")
    engine.folder.chmod(0o711)
    try:
        with engine:
            yield engine
    finally:
        if "dockremap" not in known:
            subprocess.run(["userdel", "dockremap"], check=False, capture_output=True)


@pytest.mark.engine
@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0, reason="a second engine needs root")
@pytest.mark.skipif(shutil.which("newuidmap") is None, reason="user namespaces need the package uidmap")
def test_a_session_where_ids_are_mapped_owns_its_copy(remapping: SecondEngine, tmp_path: Path) -> None:
    """User namespace remapping is honoured: the session runs as granted, and what it wrote comes back."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    remapping.docker("import", str(busybox_tar(tmp_path)), IMAGE)
    session = Session(tmp_path, state, environment={"DOCKER_HOST": remapping.host}, image=IMAGE)
    (tmp_path / "s.yaml").write_text(SCRIPT.replace("run sleep 300", "run sh -c 'cat there.txt >copied.txt'"))

    ran = session.pairlock("run", "t", "-p", "p.yaml", "-w", "work", "-m", "scripted:s.yaml")

    (folder,) = (state / "sessions").iterdir()
    (created,) = session.entries(folder.name, "sandbox.created")
    (attested,) = session.entries(folder.name, "sandbox.attested")
    assert ran.returncode == 0, ran.stderr
    assert created["stage_strategy"] == "copy"
    assert "maps user ids" in created["stage_reason"]
    assert attested["verdict"] == "as granted"
    assert (folder / "stage" / "upper" / "copied.txt").read_text() == "there"
    assert remapping.docker("ps", "-aq") == ""


@pytest.mark.engine
@pytest.mark.parametrize("missing", [("memory",), ("memory", "swap", "processes", "cpus")], ids=str)
async def test_an_engine_that_holds_no_bounds_is_refused(missing: tuple[str, ...]) -> None:
    """Rootless without cgroups: it takes the request, warns of nothing, and bounds nothing."""
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
