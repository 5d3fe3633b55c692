"""The pages about commands are held to the commands."""

from __future__ import annotations

import re
import types
from pathlib import Path

from cli_tools.action import Catalogue, usage
from cli_tools.catalogue import built_in
from cli_tools.neutral import neutralise
from cli_tools.reference import reference
from cli_tools.schema import tools
from tests.cli_tools.door import FILES, open_door

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_reference_is_what_the_declarations_say() -> None:
    """`python -m cli_tools.reference > docs/commands.md` mends it."""
    assert (DOCS / "commands.md").read_text() == reference(built_in())


def test_a_usage_has_brackets_around_what_may_be_left_out_and_nothing_else() -> None:
    for command in built_in().commands:
        for option in command.options:
            assert (f"[{option.opts[0]}" in usage(command)) is not option.required


async def test_the_command_of_the_page_on_adding_one_can_be_added(place: Path) -> None:
    """Its text is run as it stands, and the command goes through the real gate and guest."""
    (page,) = re.findall(r"```python\n(.*?)```", (DOCS / "adding-a-command.md").read_text(), re.DOTALL)
    module = types.ModuleType("count")
    exec(compile(page, "docs/adding-a-command.md", "exec"), module.__dict__)  # noqa: S102 - our own page
    (place / "workspace" / "a").write_text("one\ntwo\nthree")
    catalogue = Catalogue((*built_in().commands, *module.COMMANDS))

    async with open_door(place, FILES, catalogue=catalogue) as door:
        by_line = await door.line("files count a")
        by_tool = await door.tool("files_count", path="a", quiet=True)
        missing = await door.line("files count b")

    assert (by_line.text, by_tool.text) == ("a has 3 lines", "3")
    assert missing.text.startswith("error (not-found)")
    assert "files_count" in [tool.name for tool in tools(catalogue.commands)]


def test_the_page_on_neutral_output_shows_what_is_done() -> None:
    text = (DOCS / "neutral-output.md").read_text().replace("\\|", "|")

    for content in (b"\x1b", b"\xff", b"<|im_start|>", "\u27e61b\u27e7".encode()):
        assert f"`{neutralise(content)}`" in text
