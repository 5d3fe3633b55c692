"""Test what `pairlock doctor` says of a machine, of one that lacks something, and of a battery's results."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agent_runner import doctor
from agent_runner.cli.doctor import _print_finding, _print_results
from policies.grant import Grant
from sandbox.engine import EngineFacts
from sandbox.guest.syscalls import REFUSED
from sandbox.probing.catalogue import IN_GUEST
from sandbox.probing.probe import Result
from sandbox.versions import HOLES, known_holes

ROOT = Path(__file__).parents[2]
FACTS = EngineFacts(
    engine_id="x", version="20.10.24", api_version="1.41", endpoint="unix:///x", found="here", local=True,
    operating_system="Debian", architecture="x86_64", runtimes=("runc", "runsc"), default_runtime="runc",
    seccomp=True, rootless=False, user_namespace=False, unbounded=(), memory_bytes=1, processors=1,
    components={},
)  # fmt: skip


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `pairlock doctor` with these variables."""
    return subprocess.run(
        [sys.executable, "-m", "agent_runner", "doctor", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        text=True,
    )


@pytest.mark.engine
def test_a_machine_that_can_run_sessions_is_told_so(built: Path) -> None:
    """Exit 0; the engine's own runc is old here and there, and then each hole is said to be out of reach."""
    ran = run("--json", PAIRLOCK_STATE=str(built))

    found = json.loads(ran.stdout)
    assert ran.returncode == 0, ran.stdout
    assert [sorted(finding) for finding in found] == [["mend", "name", "standing", "text"]] * len(found)
    standings = {finding["name"]: finding["standing"] for finding in found}
    assert {standings[name] for name in ("engine", "seccomp", "runtime volume", "starter image")} == {"ok"}
    holes = [finding for finding in found if finding["name"] == "known hole"]
    assert all("out of reach" in hole["text"] and hole["mend"] for hole in holes)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [("@/run/collector", ["cores"]), ("@@/run/collector", ["cores"]), ("|/usr/bin/x %P", []), ("core", [])],
)
async def test_a_collector_of_cores_behind_a_socket_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, told: list[str]
) -> None:
    """The limit of 1 byte keeps no crash from it; it keeps one from a program and from a file."""
    (tmp_path / "core_pattern").write_text(f"{pattern}\n")
    monkeypatch.setattr(doctor, "CORE_PATTERN", tmp_path / "core_pattern")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")

    found = [finding async for finding in doctor.findings(tmp_path)]

    assert [finding.name for finding in found if finding.name == "cores"] == told
    assert all(finding.standing == "note" and finding.mend for finding in found if finding.name == "cores")


def test_a_stopped_engine_is_told_with_the_mend(tmp_path: Path) -> None:
    """Exit 4, one line for what is missing and one for how to mend it."""
    ran = run(DOCKER_HOST=f"unix://{tmp_path}/docker.sock", PAIRLOCK_STATE=str(tmp_path))

    told = " ".join(ran.stdout.split())
    assert ran.returncode == 4
    assert "missing engine no Docker engine answers" in told
    assert "mend: start it" in told
    assert ran.stderr == ""


def test_a_socket_that_refuses_connections_is_told_likewise(tmp_path: Path) -> None:
    """A file that a killed engine left behind answers nobody."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    ran = run(DOCKER_HOST=f"unix://{path}", PAIRLOCK_STATE=str(tmp_path))

    assert ran.returncode == 4
    assert "missing engine" in " ".join(ran.stdout.split())
    assert "Traceback" not in ran.stdout + ran.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="takes the user's rights away, which only root can")
def test_a_socket_without_permission_is_told_with_the_mend(tmp_path: Path) -> None:
    """The engine is there and this user may not ask it: how to be let in."""
    tmp_path.chmod(0o755)
    for folder in (*tmp_path.parents,):
        if folder.owner() == "root" and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as closed:
        closed.bind(str(path))
        path.chmod(0o600)
        script = (
            "import asyncio, os, sys\n"
            "from agent_runner import doctor\n"
            "import agent_runner.cli.doctor, sandbox.docker_engine\n"
            "from pathlib import Path\n"
            "async def look():\n"
            "    return [finding async for finding in doctor.findings(Path('/nowhere'))]\n"
            "asyncio.run(look())\n"  # what is imported late is there before the rights are gone
            "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "print(asyncio.run(look())[-1])\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "DOCKER_HOST": f"unix://{path}"},
            capture_output=True,
            check=False,
            text=True,
        )

    assert "standing='missing'" in ran.stdout, ran.stderr
    assert "no permission to use the engine" in ran.stdout
    assert "mend=''" not in ran.stdout


def test_an_engine_without_gvisor_is_told_how_to_get_it() -> None:
    """A note, for sessions run without it; its twin has nothing to mend."""
    without = doctor._runtimes(replace(FACTS, runtimes=("runc",)))
    with_it = doctor._runtimes(FACTS)

    assert (without.standing, with_it.standing) == ("note", "ok")
    assert "apt-get install runsc" in without.mend
    assert "--network=none" in without.mend
    assert with_it.mend == ""


def test_an_engine_without_seccomp_stops_every_session() -> None:
    assert doctor._seccomp(replace(FACTS, seccomp=False)).standing == "missing"
    assert doctor._seccomp(FACTS).standing == "ok"


@pytest.mark.parametrize(("version", "standing"), [("1.40", "missing"), ("1.41", "ok"), ("1.100", "ok")])
def test_an_engine_that_is_too_old_stops_every_session(version: str, standing: str) -> None:
    """1.100 is newer than 1.41: numbers are compared, not text."""
    assert doctor._engine(replace(FACTS, api_version=version)).standing == standing


def test_each_hole_that_is_named_in_the_docs_is_known() -> None:
    """docs/isolation.md names what doctor does, and why a session cannot reach it."""
    page = (ROOT / "docs" / "isolation.md").read_text("utf-8")
    old = replace(FACTS, components={"runc": "1.0.0", "Engine": "20.10.24"})

    told = " ".join(hole.text for hole in known_holes(old))

    for hole in ("CVE-2024-21626", "CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881", "CVE-2024-29018"):
        assert hole in told
        assert hole in page
    assert len([*known_holes(old)]) == len(HOLES)
    assert [*known_holes(replace(FACTS, components={"runc": "1.4.0", "Engine": "29.0.0"}))] == []


def test_a_table_of_results_fits_a_terminal_of_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row says what was tried, what should happen, what did and what stopped it; nothing is cut off."""
    monkeypatch.setenv("COLUMNS", "80")
    results = [
        Result(probe=probe, grant=Grant.NONE, runtime="runsc", observed=next(iter(probe.stops), "allowed"))
        for probe in IN_GUEST
    ]

    _print_results(results)

    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines()) <= 80
    assert all(line == line.rstrip() for line in printed.splitlines())
    assert all(f"call {name}" in printed for name in REFUSED)
    assert "call io_uring_setup" in printed.split("refused")[0]


def test_a_finding_is_folded_below_its_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns; what is long and has no spaces, a path for instance, stays whole to be copied."""
    monkeypatch.setenv("COLUMNS", "80")
    finding = doctor.Finding(
        name="runtimes", standing="note", text=f"{'word ' * 30}/{'x' * 70}", mend="`apt-get install runsc`"
    )

    _print_finding(finding)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("note    runtimes        word")
    assert all(line.startswith(" " * 24) for line in lines[1:])
    assert all(len(line) <= 80 for line in lines if "xx" not in line)
    assert f"/{'x' * 70}" in "".join(lines)
    assert lines[-1].strip() == "mend: `apt-get install runsc`"


def test_what_got_through_stands_out(capsys: pytest.CaptureFixture[str]) -> None:
    probe = next(probe for probe in IN_GUEST if probe.name == "mount")

    _print_results([Result(probe=probe, grant=Grant.NONE, runtime="runc", observed="allowed")])

    assert "GOT THROUGH" in capsys.readouterr().out


def test_an_image_or_engine_never_writes_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What was observed comes from the guest: control characters are escaped."""
    probe = next(probe for probe in IN_GUEST if probe.name == "mount")

    _print_results([Result(probe=probe, grant=Grant.NONE, runtime="runc", observed="\x1b[2J[red]x[/red]")])

    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "[red]" in printed
