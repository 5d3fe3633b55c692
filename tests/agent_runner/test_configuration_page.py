"""The whole files that the page on configuration shows are read as they stand."""

from __future__ import annotations

import re
from pathlib import Path

from agent_runner.backends.configuration import Configuration, read_configuration
from agent_runner.connectors_configured import ConfiguredConnectors
from policies.ceiling import Ceiling, parse_ceiling

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def _shown(kind: str) -> str:
    (text,) = re.findall(rf"```yaml {kind}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return str(text)


def test_the_configuration_of_the_page_is_one_and_has_every_block(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(_shown("config"))

    read = read_configuration(file)

    assert read.model_fields_set == set(Configuration.model_fields)
    assert read.connectors.model_fields_set == set(ConfiguredConnectors.model_fields)
    assert {model.backend for model in read.models.values()} == {
        "openai",
        "anthropic",
        "route",
        "replay",
        "installed",
        "scripted",
    }


def test_the_ceiling_of_the_page_is_one_and_has_every_block() -> None:
    ceiling = parse_ceiling(_shown("ceiling"), origin="docs/configuration.md")

    assert ceiling.model_fields_set == set(Ceiling.model_fields)


def test_every_variable_of_ours_that_the_code_reads_is_on_the_page() -> None:
    root = PAGE.parents[1]
    packages = [file.parent for file in root.glob("*/__init__.py")]
    read = {
        name
        for package in packages
        for file in package.rglob("*.py")
        for name in re.findall(r"\"(PAIRLOCK_[A-Z_]+)\"", file.read_text("utf-8"))
    }

    assert len(read) > 1
    assert {name for name in read if f"| `{name}` |" not in PAGE.read_text("utf-8")} == set()
