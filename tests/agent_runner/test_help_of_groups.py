"""What `--help` of a group of commands says: each command's sentence, whole, within a terminal's width."""

from __future__ import annotations

import pytest
from typer.core import TyperGroup
from typer.testing import CliRunner

from agent_runner.cli.main import app
from agent_runner.cli.reference import every_command

GROUPS = {name: one for name, one in every_command() if isinstance(one, TyperGroup)}


@pytest.mark.parametrize("name", GROUPS)
def test_a_groups_help_has_each_commands_sentence_whole(name: str) -> None:
    """Typer's own cuts it off at the width, in the middle of what it says."""
    words = name.split()[1:]

    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})

    text = " ".join(shown.stdout.split())
    for word, command in GROUPS[name].commands.items():
        sentence = " ".join((command.help or "").partition("\n\n")[0].split()).partition(". ")[0]
        assert f"{word} {sentence}" in text
    assert "..." not in text.partition("Commands:")[2]
    assert max(map(len, shown.stdout.splitlines())) <= 80
