"""The tools that a model is given: stable text in a stable order, and exactly what the parser takes."""

from __future__ import annotations

import json
import subprocess
import sys

from cli_tools.action import LineProposal, ToolProposal, tool_name
from cli_tools.catalogue import built_in
from cli_tools.schema import tools

CATALOGUE = built_in()
WRITTEN = """
import json
from cli_tools.catalogue import built_in
from cli_tools.schema import tools
print(json.dumps([[tool.name, tool.description, tool.parameters] for tool in tools(built_in().commands)]))
"""


def test_the_schemas_are_the_same_text_in_every_process() -> None:
    """They are part of a backend's cached prefix: the seed of hashes must not show in them."""
    texts = {
        subprocess.run(
            [sys.executable, "-c", WRITTEN],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }

    assert len(texts) == 1


def test_the_order_does_not_depend_on_the_order_of_declaration() -> None:
    commands = built_in().commands

    assert tools(commands) == tools(reversed(commands))


def test_every_tool_names_exactly_the_parameters_of_its_command() -> None:
    by_name = {tool.name: tool for tool in tools(CATALOGUE.commands)}

    for command in CATALOGUE.commands:
        schema = by_name[tool_name(command)].parameters
        assert list(schema["properties"]) == [parameter.name for parameter in command.parameters]
        assert schema["additionalProperties"] is False


def test_what_a_schema_shows_is_json_that_says_what_the_parser_does() -> None:
    """The whole of one, so that a change of the prefix is seen in a review."""
    (tool,) = [tool for tool in tools(CATALOGUE.commands) if tool.name == "files_search"]

    assert json.loads(json.dumps(tool.parameters)) == {
        "type": "object",
        "properties": {
            "pattern": {"type": "string"},
            "path": {"type": "string", "description": "A path relative to the workspace. `.` when left out."},
            "literal": {
                "type": "boolean",
                "description": "The pattern is plain text, no regular expression.",
            },
            "ignore_case": {"type": "boolean", "description": "Small and capital letters are the same."},
            "context": {
                "type": "integer",
                "minimum": 0,
                "maximum": 50,
                "description": "Lines to show around each match. `0` when left out.",
            },
            "name": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 0,
                "description": "Only files so named, as `*.py` or `src/*.py`; may be repeated.",
            },
            "everything": {"type": "boolean", "description": "Also what `.gitignore` files leave out."},
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": 2000,
                "description": "Matches after which to stop. `200` when left out.",
            },
        },
        "required": ["pattern"],
        "additionalProperties": False,
    }


def test_an_example_says_the_same_as_a_tool_call_with_its_values() -> None:
    for command in CATALOGUE.commands:
        for example in command.examples:
            by_line = CATALOGUE.parse(LineProposal(line=example))
            values = {
                name: list(value) if isinstance(value, tuple) and name != "lines" else value
                for name, value in by_line.parameters.items()
                if value is not None
            }
            if "lines" in values:
                values["lines"] = "-".join(map(str, values["lines"]))
            if command.body_parameter and by_line.body is not None:
                values[command.body_parameter] = by_line.body.decode()

            by_tool = CATALOGUE.parse(ToolProposal(tool=tool_name(command), arguments=json.dumps(values)))

            assert by_tool.request() == by_line.request()
            assert (by_tool.parameters, by_tool.body) == (by_line.parameters, by_line.body)


def test_a_command_that_means_nothing_without_content_says_so_in_its_schema() -> None:
    required = {tool.name: tool.parameters["required"] for tool in tools(CATALOGUE.commands)}

    assert required["files_write"] == ["path", "content"]
    assert required["files_patch"] == ["path"]
    assert required["run"] == ["argv"]
