"""Nothing in the command line is out of a program's reach: the page of the Python API is held to both."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import agent_runner
from agent_runner.cli.reference import every_command

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs" / "python-api.md").read_text("utf-8")
RUNNING: Final = {"run", "exec", "resume", "attach", "stop", "approve", "deny", "show", "ps"}
_ROW: Final = re.compile(r"^\| `([a-z ]+)` \| (`[a-z_]+\..+) \|$", re.MULTILINE)
_OPTIONS: Final = re.compile(r"^\| `([a-z]+)` \| (`--.+?) \| .+ \|$", re.MULTILINE)
_NAMED: Final = re.compile(r"`((?:agent_runner|policies|audit|sandbox|cli_tools)(?:\.\w+)+)`")
EXAMPLES: Final = ["run_a_session.py", "replay_a_session.py", "run_an_agent.py"]


def found(dotted: str) -> object:
    """Return what a dotted name names."""
    place, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(place), name, None)


def test_every_command_has_its_equal_in_python() -> None:
    commands = {
        name.removeprefix("pairlock ") for name, each in every_command() if not hasattr(each, "commands")
    }

    assert {name for name, _ in _ROW.findall(PAGE)} == commands


def test_every_name_of_the_page_is_there_and_can_be_called() -> None:
    named = {name for _, cell in _ROW.findall(PAGE) for name in _NAMED.findall(cell)}

    assert [name for name in sorted(named) if not callable(found(name))] == []
    assert len(named) > 60


def test_every_option_of_a_command_that_runs_sessions_has_its_equal() -> None:
    told = {
        (command, option)
        for command, cell in _OPTIONS.findall(PAGE)
        for option in re.findall(r"--[a-z-]+", cell)
    }
    given = {
        (name.removeprefix("pairlock "), option)
        for name, command in every_command()
        if name.removeprefix("pairlock ") in RUNNING
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }

    assert told == given


def test_every_name_of_the_package_is_on_its_page() -> None:
    values = {"Ran", "ResumeRequest", "SessionRequest"}

    assert [name for name in agent_runner.__all__ if name not in PAGE and name not in values] == []


@pytest.mark.engine
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=() if each == EXAMPLES[1] else pytest.mark.long) for each in EXAMPLES]
)
def test_an_example_runs_as_it_stands(name: str, tmp_path: Path, new_state: Callable[[], Path]) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "api" / name],
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin",
            "PAIRLOCK_STATE": str(new_state()),
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
