"""Options that execute, write, connect or read elsewhere reach no program (attacks B53, B54)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cli_tools.wrapped import Wrapped, catalogue_of, page, require_refused, wrapped

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = catalogue_of(ROOT / "examples" / "commands")
BY_NAME = {command.name: command for command in CATALOGUE.commands}
PROGRAMS = {"ripgrep": "rg", "git diff, log, show": "git", "git log, show": "git", "git blame": "git"}


def test_the_page_is_what_the_list_and_the_commands_say() -> None:
    """`python -m cli_tools.wrapped > docs/wrapped-options.md` mends it; each line is tried on the way."""
    assert (ROOT / "docs" / "wrapped-options.md").read_text() == page(CATALOGUE)


@pytest.mark.parametrize("entry", wrapped(), ids=lambda entry: entry.program)
def test_no_command_takes_an_option_of_the_list(entry: Wrapped) -> None:
    for name in entry.commands:
        for option in entry.options:
            require_refused(CATALOGUE, BY_NAME[name], option.option)


def test_an_option_that_a_command_does_take_is_found_out() -> None:
    """The twin: the check is not passed by whatever it is given."""
    with pytest.raises(LookupError):
        require_refused(CATALOGUE, BY_NAME["lines sort"], "--reverse")
    with pytest.raises(LookupError):
        require_refused(CATALOGUE, BY_NAME["git log"], "--oneline")


@pytest.mark.parametrize("entry", wrapped(), ids=lambda entry: entry.program)
def test_of_the_options_that_a_program_names_itself_a_command_takes_only_its_own(entry: Wrapped) -> None:
    """Whatever the version: what `--help` names is refused, unless declared; and that is none of the list."""
    harmful = {option.option for option in entry.options}
    for name in entry.commands:
        declared = {flag for option in BY_NAME[name].options for flag in option.opts}
        assert not declared & harmful
        for option in sorted(_options_of(PROGRAMS.get(entry.program, entry.program)) - declared):
            require_refused(CATALOGUE, BY_NAME[name], option)


def _options_of(program: str) -> set[str]:
    path = shutil.which(program)
    if path is None:
        return set()  # then the list alone is held to
    words = ["--help", "all"] if program == "curl" else ["--help"]
    done = subprocess.run([path, *words], check=False, capture_output=True, text=True, timeout=60)
    return set(re.findall(r"(?<![\w-])--?[a-zA-Z0-9][a-zA-Z0-9-]*", done.stdout))


@pytest.mark.parametrize("program", ["sort", "wc", "tar", "grep", "find"])
def test_the_programs_of_every_machine_name_many_options(program: str) -> None:
    """So that the test above has something to try."""
    assert len(_options_of(program)) > (3 if program == "wc" else 20)
