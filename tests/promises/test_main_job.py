"""The main job on real input: an agent mends a package in a sandbox, and the change applies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.engine
CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLE = CHECKOUT / "examples" / "fix-tests"
SOCKET = Path("/var/run/docker.sock")
ORDINARY = 23456
SYSTEM_PYTHON = Path("/usr/bin/python3")


def pairlock(
    state: Path, *arguments: str, prefix: tuple[str, ...] = (sys.executable,)
) -> subprocess.CompletedProcess[str]:
    """Run pairlock on a state folder."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(state.parent),
        "PAIRLOCK_STATE": str(state),
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *packages]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CI": "true",
    }
    return subprocess.run(
        [*prefix, "-m", "agent_runner", *arguments],
        cwd=state.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def main_job(
    state: Path, workspace: Path, *, prefix: tuple[str, ...] = (sys.executable,)
) -> dict[str, object]:
    """Run the example's session and return its account."""
    script = f"scripted:{EXAMPLE / 'script.yaml'}"
    arguments = ["-p", "fix-tests", "-w", str(workspace), "-m", script, "--json"]
    done = pairlock(state, "run", "make the tests pass", *arguments, prefix=prefix)
    assert done.returncode == 0, done.stderr
    account: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return account


def failing_tests(workspace: Path) -> int:
    """Run the package's tests on this machine and return pytest's exit code."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        str(workspace),
    ]
    plain = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # what it leaves would be a change of the workspace
    return subprocess.run(command, cwd=workspace, env=plain, capture_output=True, check=False).returncode


def test_the_main_job_leaves_a_diff_that_applies_and_a_ledger_that_verifies(
    new_state: Callable[[], Path], tmp_path: Path
) -> None:
    """Red before, the network refused on the way, green after `apply`; the workspace untouched until then."""
    state, workspace = new_state(), tmp_path / "package"
    shutil.copytree(EXAMPLE / "package", workspace)
    before = {path: path.read_bytes() for path in workspace.rglob("*") if path.is_file()}
    assert failing_tests(workspace) == 1

    account = main_job(state, workspace)
    untouched = {path: path.read_bytes() for path in workspace.rglob("*") if path.is_file()} == before
    patch = pairlock(state, "diff", "last").stdout
    checked = subprocess.run(
        ["git", "apply", "--check", "-"],
        cwd=workspace,
        input=patch,
        text=True,
        capture_output=True,
        check=False,
    )
    applied = pairlock(state, "apply", "last", "--yes")
    verified = pairlock(state, "audit", "verify", "last")

    assert account["status"] == "done"
    assert account["totals"]["denials"] == 1  # type: ignore[index]  # the fetch
    assert untouched
    assert checked.returncode == 0, checked.stderr
    assert applied.returncode == 0, applied.stderr
    assert failing_tests(workspace) == 0
    assert verified.returncode == 0, verified.stdout


def as_ordinary_user() -> tuple[str, ...]:
    """Return the command prefix that runs Python as a user who is nobody but may use the engine."""
    if os.getuid() != 0:
        return (sys.executable,)
    group = SOCKET.stat().st_gid
    drop = ("setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", f"--groups={group}")
    for python in (SYSTEM_PYTHON, Path(sys.executable)):
        done = subprocess.run(
            [*drop, str(python), "-c", "import sys; print(sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0 and done.stdout.strip() == str(sys.version_info[:2]):
            return (*drop, str(python))
    raise AssertionError(
        "no interpreter of this version that an ordinary user may run: apt-get install python3"
    )


@pytest.fixture
def home() -> Iterator[Path]:
    """Make a home for an ordinary user, outside pytest's own folders, which are root's alone."""
    path = Path(tempfile.mkdtemp(prefix="pairlock-home-"))
    yield path
    shutil.rmtree(path)


def give(path: Path, uid: int) -> None:
    """Give a tree to a user."""
    for found in (path, *path.rglob("*")):
        os.chown(found, uid, uid, follow_symlinks=False)


@pytest.mark.long
def test_an_ordinary_user_gets_the_overlay_and_not_the_copy(home: Path) -> None:
    """The same job by a user in the engine's group: mounted over the live workspace, nothing copied."""
    prefix = as_ordinary_user()
    workspace, state = home / "package", home / "state"
    shutil.copytree(EXAMPLE / "package", workspace)
    state.mkdir(mode=0o700)
    give(home, ORDINARY if os.getuid() == 0 else os.getuid())

    try:
        account = main_job(state, workspace, prefix=prefix)
        shown = pairlock(state, "audit", "show", "last", "--json", prefix=prefix)
        applied = pairlock(state, "apply", "last", "--yes", prefix=prefix)
    finally:
        cleaned = pairlock(state, "clean", "--all", "--unreviewed", prefix=prefix)

    created = next(
        entry["body"]
        for entry in map(json.loads, shown.stdout.splitlines())
        if entry["type"] == "sandbox.created"
    )
    assert account["status"] == "done"
    assert created["stage_strategy"] == "overlay", created["stage_reason"]
    assert applied.returncode == 0, applied.stderr
    assert failing_tests(workspace) == 0
    assert cleaned.returncode == 0, cleaned.stderr
    assert not (state / "sessions" / str(account["session"]) / "stage").exists()
