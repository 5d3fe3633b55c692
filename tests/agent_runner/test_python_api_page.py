"""Nothing in the command line is out of a program's reach: the page of the Python API is held to both."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

import agent_runner
from agent_runner.cli.reference import every_command

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs" / "python-api.md").read_text("utf-8")
RUNNING: Final = {"run", "exec", "resume", "attach", "stop", "approve", "deny", "show", "ps"}
TOLD: Final = {"--json", "--yes", "--help"}
"""How a result is shown, and that nobody is asked; the page has these of commands that run sessions alone."""
_ROW: Final = re.compile(r"^\| `([a-z ]+)` \| (`[a-z_]+\..+) \|$", re.MULTILINE)
_OPTIONS: Final = re.compile(r"^\| `([a-z ]+)` \| (`--.+?) \| (.+) \|$", re.MULTILINE)
_CALLED: Final = re.compile(r"`((?:agent_runner|policies|audit|sandbox|cli_tools)(?:\.\w+)+)\(([^`]*)\)`")
_NAMED: Final = re.compile(r"`((?:agent_runner|policies|audit|sandbox|cli_tools)(?:\.\w+)+)`")
EXAMPLES: Final = ["run_a_session.py", "replay_a_session.py", "run_an_agent.py"]


def found(dotted: str) -> Any:
    """Return what a dotted name names."""
    place, _, name = dotted.rpartition(".")
    try:
        return getattr(importlib.import_module(place), name, None)
    except ModuleNotFoundError:  # what it names is a part of a class
        return getattr(found(place), name, None)


def test_every_command_has_its_equal_in_python() -> None:
    commands = {
        name.removeprefix("pairlock ") for name, each in every_command() if not hasattr(each, "commands")
    }

    assert {name for name, _ in _ROW.findall(PAGE)} == commands


def test_every_name_of_the_page_is_there_and_can_be_called() -> None:
    cells = [*(cell for _, cell in _ROW.findall(PAGE)), *(cell for _, _, cell in _OPTIONS.findall(PAGE))]
    named = {name for cell in cells for name in (*_NAMED.findall(cell), *dict(_CALLED.findall(cell)))}

    assert [name for name in sorted(named) if not callable(found(name))] == []
    assert len(named) > 90


def test_every_option_has_its_equal() -> None:
    """A new option without one fails here."""
    told = {
        (command, option)
        for command, cell, _ in _OPTIONS.findall(PAGE)
        for option in re.findall(r"--[a-z-]+", cell)
    }
    given = {
        (name.removeprefix("pairlock "), option)
        for name, command in every_command()
        if not hasattr(command, "commands")
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }

    assert told == {each for each in given if each[0] in RUNNING or each[1] not in TOLD}
    assert len(told) > 80


def test_every_parameter_that_takes_an_options_place_is_there() -> None:
    called = [each for _, _, cell in _OPTIONS.findall(PAGE) for each in _CALLED.findall(cell)]
    wanted = {(name, parameter) for name, given in called for parameter in re.findall(r"(\w+)=", given)}

    assert [each for each in sorted(wanted) if each[1] not in signature(found(each[0])).parameters] == []
    assert len(wanted) > 40


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
