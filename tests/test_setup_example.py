"""The example that the demo runs: red as it is, green after what the script writes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "fix-tests"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A fresh copy of the package."""
    return Path(shutil.copytree(EXAMPLE / "package", tmp_path / "freetime"))


def run_tests(package: Path) -> tuple[int, str]:
    """Run the package's tests as a session does, without this suite's plugins and settings."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "--rootdir", str(package)]
    done = subprocess.run(
        command,
        cwd=package,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()[-1]


def script_turns() -> list[dict[str, object]]:
    """Return the turns of the script, as plain values."""
    turns: list[dict[str, object]] = YAML(typ="safe").load(EXAMPLE / "script.yaml")["turns"]
    return turns


def actions() -> list[object]:
    """Return every action of the script, in order."""
    return [action for turn in script_turns() for action in turn["actions"]]  # type: ignore[attr-defined]


def test_one_test_of_the_package_fails(package: Path) -> None:
    code, summary = run_tests(package)

    assert code == 1
    assert summary.startswith("1 failed, 30 passed")


def test_what_the_script_writes_makes_them_pass(package: Path) -> None:
    for action in actions():
        if isinstance(action, dict):
            verb, path = str(action["command"]).split()[1:]
            assert verb == "write"
            (package / path).write_text(str(action["content"]))

    code, summary = run_tests(package)

    assert code == 0
    assert summary.startswith("32 passed")


def test_the_script_is_one_that_the_backend_plays() -> None:
    from agent_runner.backends.scripted import load_script

    assert len(load_script(EXAMPLE / "script.yaml").turns) == len(script_turns())


def test_the_script_tries_the_network_and_runs_the_tests_before_and_after() -> None:
    lines = [action if isinstance(action, str) else str(action["command"]) for action in actions()]  # type: ignore[index]

    assert [line.split()[0] for line in lines if not line.startswith("files")] == [
        "run",
        "http",
        "run",
        "finish",
    ]
