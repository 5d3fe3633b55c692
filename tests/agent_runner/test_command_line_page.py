"""The page of the command line is held to the commands."""

from __future__ import annotations

from pathlib import Path

from agent_runner.cli.reference import every_command, reference

PAGE = Path(__file__).resolve().parents[2] / "docs" / "command-line.md"


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
