"""The scripts that set a machine up, each beside the machine's own engine and never touching it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
DOCKERD = shutil.which("dockerd", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
PATIENCE_SECONDS = 120


def run(
    *command: str, cwd: Path = ROOT, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script without a terminal, and with only the environment that is named."""
    return subprocess.run(
        command,
        cwd=cwd,
        env={"PATH": os.defpath + ":/usr/sbin:/sbin"} | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def elsewhere() -> Iterator[dict[str, str]]:
    """The environment of an engine of its own: another socket, other folders, no network."""
    folder = Path(tempfile.mkdtemp(prefix="pairlock-"))  # short: a socket's path has 107 bytes
    address = f"unix://{folder}/docker.sock"
    options = {
        "host": address, "data-root": folder / "data", "exec-root": folder / "exec",
        "pidfile": folder / "pid",
        "iptables": "false", "ip6tables": "false", "bridge": "none",
    }  # fmt: skip
    yield {
        "DOCKER_HOST": address,
        "PAIRLOCK_ENGINE_FOLDER": str(folder / "run"),
        "PAIRLOCK_STARTED": str(folder / "started"),
        "PAIRLOCK_DOCKERD_OPTIONS": " ".join(f"--{name}={value}" for name, value in options.items()),
    }
    stop(folder / "started")
    shutil.rmtree(folder, ignore_errors=True)


def stop(started: Path) -> None:
    """End the engines that were started, by their pids, and wait for their ends."""
    for line in started.read_text().split() if started.exists() else []:
        os.kill(int(line), signal.SIGTERM)
        ends = time.monotonic() + PATIENCE_SECONDS
        while Path(f"/proc/{line}").exists() and time.monotonic() < ends:
            time.sleep(0.1)


def state(environment: dict[str, str]) -> str:
    """Return what the engine's state is, as the scripts see it."""
    return run(sys.executable, "scripts/ask_engine.py", "state", environment=environment).stdout.strip()


def test_without_a_terminal_nothing_is_started_or_installed(elsewhere: dict[str, str]) -> None:
    done = run("scripts/engine.sh", environment=elsewhere)

    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "pairlock: no Docker engine is running"
    assert done.stderr.splitlines()[1].startswith("hint: ")
    assert state(elsewhere) == "absent"


@pytest.mark.engine
@pytest.mark.skipif(os.geteuid() != 0 or DOCKERD is None, reason="only root can start an engine")
def test_an_engine_is_started_once_and_by_the_pid_that_is_told(elsewhere: dict[str, str]) -> None:
    agreed = elsewhere | {"YES": "1"}

    first = run("scripts/engine.sh", "--gvisor", environment=agreed)
    second = run("scripts/engine.sh", "--gvisor", environment=agreed)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert second.stderr == ""
    assert state(elsewhere) == "running"
    runtimes = run(sys.executable, "scripts/ask_engine.py", "runtimes", environment=elsewhere).stdout.split()
    assert {"runc", "runsc"} <= set(runtimes)
    pids = Path(elsewhere["PAIRLOCK_STARTED"]).read_text().split()
    assert len(pids) == 1
    assert Path(f"/proc/{pids[0]}/comm").read_text() == "dockerd\n"
    stop(Path(elsewhere["PAIRLOCK_STARTED"]))
    assert state(elsewhere) == "absent"
    Path(elsewhere["PAIRLOCK_STARTED"]).unlink()


@pytest.mark.skipif(os.geteuid() != 0 or DOCKERD is None, reason="only root can start an engine")
def test_an_engine_that_will_not_start_is_one_clear_error(elsewhere: dict[str, str]) -> None:
    broken = elsewhere | {"YES": "1", "PAIRLOCK_DOCKERD_OPTIONS": "--no-such-option"}

    done = run("scripts/engine.sh", environment=broken)

    assert done.returncode == 1
    assert "pairlock: the Docker engine did not start: " in done.stderr
    assert done.stderr.splitlines()[-1] == f"hint: look at {elsewhere['PAIRLOCK_ENGINE_FOLDER']}/log"
    assert not Path(elsewhere["PAIRLOCK_STARTED"]).exists()


def test_an_engine_elsewhere_that_does_not_answer_is_never_replaced_by_one_here() -> None:
    done = run("scripts/engine.sh", environment={"DOCKER_HOST": "tcp://127.0.0.1:1", "YES": "1"})

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "pairlock: no Docker engine answers at DOCKER_HOST, `tcp://127.0.0.1:1`",
        "hint: start it, or unset DOCKER_HOST",
    ]


@pytest.mark.parametrize("answers", [{}, {"YES": "0"}, {"CI": "false"}, {"YES": ""}])
def test_only_ci_and_yes_answer_beforehand(answers: dict[str, str]) -> None:
    script = ". scripts/talk.sh; agreed 'Do it?' && echo yes || echo no"

    assert run("/bin/sh", "-c", script, environment=answers).stdout == "no\n"


@pytest.mark.parametrize("answers", [{"YES": "1"}, {"CI": "true"}])
def test_ci_and_yes_answer_beforehand(answers: dict[str, str]) -> None:
    script = ". scripts/talk.sh; agreed 'Do it?' && echo yes || echo no"

    assert run("/bin/sh", "-c", script, environment=answers).stdout == "yes\n"


def test_an_unknown_kind_of_environment_is_refused() -> None:
    done = run("scripts/environment.sh", "production")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pairlock: `production` is no kind of environment, expected `run` or `dev`\n"


def test_a_machine_without_a_new_enough_python_is_told(tmp_path: Path) -> None:
    """The scripts are copied: the environment of this checkout is left alone."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "old").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "old").chmod(0o755)

    done = run("scripts/environment.sh", "run", cwd=tmp_path, environment={"PYTHON": str(tmp_path / "old")})

    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "pairlock: no Python 3.11 or newer is on the path"
    assert not (tmp_path / ".venv").exists()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="`make lint` says so, and installs it in CI")
def test_the_scripts_are_clean_to_shellcheck() -> None:
    scripts = sorted(str(path) for path in (ROOT / "scripts").glob("*.sh"))

    done = run(str(shutil.which("shellcheck")), "-x", *scripts, ".ci/run")

    assert (done.returncode, done.stdout) == (0, "")
