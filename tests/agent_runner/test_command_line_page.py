"""The page of the command line is held to the commands."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from agent_runner.cli.commands import COMMANDS, app_of
from agent_runner.cli.reference import every_command, reference

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "command-line.md"
HELP: Final = """
import sys
from agent_runner.cli.main import main
sys.argv = ["pairlock", "--help"]
try:
    main()
except SystemExit:
    pass
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""
MODULES: Final = HELP.replace('partition(".")[0] for name in sys.modules', "strip() for name in sys.modules")
STARTED: Final = """
import gc, sys
from agent_runner.cli.entry import start
sys.argv = ["pairlock", "--version"]
try:
    start()
except SystemExit:
    pass
print(gc.isenabled(), gc.get_freeze_count() > 10_000)
"""
LIGHT: Final = {"click", "typer"}


def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    """`python -m agent_runner.cli.reference > docs/command-line.md` mends it."""
    assert PAGE.read_text("utf-8") == reference()


def test_every_command_says_what_it_does_and_every_option_what_it_is_for() -> None:
    silent = [name for name, command in every_command() if not command.help]
    unexplained = [
        f"{name} {parameter.opts[0]}"
        for name, command in every_command()
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]

    assert (silent, unexplained) == ([], [])


def test_every_help_fits_80_columns_and_marks_each_argument_once() -> None:
    """A usage read `[[PATH...]]...`, from marks of our own within those of the library."""
    runner = CliRunner()

    helps = {
        name: runner.invoke(app_of(None), [*name.split()[1:], "--help"], terminal_width=80).output
        for name, _ in every_command()
    }

    usages = {name: said.split("\n\n", 1)[0] for name, said in helps.items()}
    assert [name for name, said in helps.items() if max(map(len, said.splitlines())) > 80] == []
    assert [usage for usage in usages.values() if re.search(r"\[\[|\.\.\.[\]}]|…", usage)] == []
    assert usages["pairlock apply"] == "Usage: pairlock apply [OPTIONS] [ID] [PATH]..."
    assert "pairlock apply [ID] [PATH...]" in reference()


def test_the_help_that_imports_no_command_is_that_of_all_of_them() -> None:
    """`pairlock --help` names each command by a line that stands apart from it."""
    runner = CliRunner()

    quick = runner.invoke(app_of([]), ["--help"])
    whole = runner.invoke(app_of(None), ["--help"])

    assert quick.exit_code == whole.exit_code == 0
    assert quick.output == whole.output
    assert all(name in whole.output for name in COMMANDS)


def test_help_imports_no_command_and_a_command_no_other() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", MODULES], capture_output=True, text=True, check=True
    ).stderr

    assert "agent_runner.cli.main" in loaded
    assert "agent_runner.cli.run" not in loaded
    assert "agent_runner.cli.audit" not in loaded


def test_help_loads_no_library_but_the_command_lines_own() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)

    loaded = set(done.stderr.split())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    heavy = {word.partition(">")[0].partition(".")[0].replace("-", "_") for word in project["dependencies"]}
    assert "docker" in heavy
    assert "Usage: pairlock" in done.stdout
    assert loaded & (heavy | {"asyncio", "re2", "google", "ruamel", "httpx"}) - LIGHT == set()
    assert "typer" in loaded


def test_what_was_imported_at_the_start_is_never_searched_for_garbage_and_what_comes_after_is() -> None:
    done = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "True True"


@pytest.mark.parametrize(
    ("words", "usage", "error"),
    [
        ("run --nope", "run [OPTIONS] {TASK}", "No such option: --nope"),
        ("policy chekc", "policy [OPTIONS] COMMAND [ARGS]...", "No such command 'chekc'."),
        ("diff a b", "diff [OPTIONS] [ID]", "Got unexpected extra argument"),
        ("tools call", "tools call [OPTIONS] {COMMAND}...", "Missing argument 'COMMAND'."),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line_below_its_usage(words: str, usage: str, error: str) -> None:
    done = called(*words.split())

    name = usage.partition(" [")[0]
    first, second, blank, last = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert (first, second, blank) == (
        f"Usage: pairlock {usage}",
        f"Try 'pairlock {name} -h' for help.",
        "",
    )
    assert last.startswith(f"Error: {error}")


def test_what_is_not_valid_is_told_in_one_line_and_its_hint() -> None:
    done = called("tools", "show", "files", "raed")

    assert (done.returncode, done.stdout, done.stderr.splitlines()[0]) == (
        2,
        "",
        "pairlock: no command `files raed`",
    )
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()[1:]] == ["hint:"]


def called(*words: str) -> subprocess.CompletedProcess[str]:
    """Return what came of a command line."""
    main = "import sys; sys.argv[0] = 'pairlock'; from agent_runner.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", main, *words], capture_output=True, text=True, check=False, cwd=ROOT / "docs"
    )
