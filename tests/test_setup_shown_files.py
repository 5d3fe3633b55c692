"""Every file that a page shows is read as what it is: policies, tasks, configurations, JSON, Python.

`test_setup_pages` holds the command lines of the pages to the commands. What neither reads is what commands
print: the README's transcript is compared with a run by `test_setup_wheel`, others are somebody's session.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from agent_runner.backends.configuration import read_configuration
from agent_runner.ci.reading import parse_task
from policies.ceiling import parse_ceiling
from policies.errors import PolicyFileError
from policies.library import library_names, library_policy
from policies.source import parse_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")]
)
CONFIGURED: Final = {"models", "credentials", "connectors", "approvals"}
_FENCE: Final = re.compile(r"^```([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INDENTED: Final = re.compile(r"(?:(?<=\n)    \S.*\n(?:(?:\n(?=    ))?    .*\n)*)")
_TITLE: Final = re.compile(r"\A(?:policy [\w-]+\.yaml:|# \S+\.yaml)\n")
_MODEL: Final = re.compile(r"^\w+: +\{backend: |^\w+:\n +backend: ", re.MULTILINE)
_LOOKS_LIKE_ONE: Final = re.compile(
    r"^ *(?:version: 1(?!\.)|grant: |backend: |credentials:|connectors:)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One file, or a part of one, as a page shows it."""

    kind: str
    text: str


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield what a page shows as code, with the word behind its fence."""
    yield from _FENCE.findall(text)
    for block in _INDENTED.findall(_FENCE.sub("", text)):
        for part in re.split(r"\n\n(?=\S)", textwrap.dedent(block)):
            yield "", part


def shown(name: str) -> Iterator[Shown]:
    """Yield every file that a page shows."""
    for word, text in blocks((ROOT / name).read_text("utf-8")):
        kind = kind_of(word, text)
        if kind:
            yield Shown(kind, textwrap.dedent(_TITLE.sub("", text)).replace('image: "…"', "image: acme/any"))


def kind_of(word: str, text: str) -> str:
    """Return what a block is; nothing for command lines, what they print, and prose that is set in."""
    if word in {"python", "yaml ceiling"}:
        return word.removeprefix("yaml ")
    if text.startswith('{"'):
        return "json"
    if _MODEL.match(text):
        return "models"
    keys = keys_of(textwrap.dedent(_TITLE.sub("", text)))
    for kind, wanted in (("policy", {"grant"}), ("task", {"prompt"}), ("configuration", CONFIGURED)):
        if wanted & keys:
            return kind
    return "yaml" if word.startswith("yaml") or text.startswith(("- uses: ", "- run: ")) else ""


def keys_of(text: str) -> set[str]:
    """Return the keys of a text that is a mapping; none of any other."""
    try:
        read = YAML(typ="safe").load(text)
    except YAMLError:
        return set()
    return set(read) if isinstance(read, dict) else set()


def read(file: Shown, name: str, folder: Path) -> None:
    """Read a file as pairlock does; raise where it would refuse it."""
    match file.kind:
        case "policy":
            parse_policy(file.text, origin=name, find=library_policy)
        case "ceiling":
            parse_ceiling(file.text, origin=name)
        case "task":
            parse_task(file.text, origin=name)
        case "models" | "configuration":
            path = folder / "config.yaml"
            path.write_text(whole(file))
            read_configuration(path)
        case "json":
            for line in file.text.splitlines() if "\n{" in file.text else [file.text]:
                json.loads(filled_in(line))
        case "python":
            ast.parse(file.text)
        case "yaml":
            YAML(typ="safe").load(file.text)
        case kind:
            raise AssertionError(kind)


def filled_in(line: str) -> str:
    """Return a line of JSON with something where a page leaves something out."""
    return re.sub(r":N\b", ":0", line.replace(", …]", "]").replace("{…}", "{}").replace("{...}", "{}"))


def whole(file: Shown) -> str:
    """Return a part of a configuration as a whole one."""
    text = f"models:\n{textwrap.indent(file.text, '  ')}" if file.kind == "models" else file.text
    return text if "version: 1" in text else f"version: 1\n{text}"


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_a_page_shows_is_one(name: str, tmp_path: Path) -> None:
    for file in shown(name):
        read(file, name, tmp_path)


@pytest.mark.parametrize("name", PAGES)
def test_nothing_that_looks_like_a_file_is_passed_over(name: str) -> None:
    told = [text for word, text in blocks((ROOT / name).read_text("utf-8")) if not kind_of(word, text)]

    assert [text for text in told if _LOOKS_LIKE_ONE.search(text)] == []


def test_every_kind_of_file_is_found_in_the_pages() -> None:
    kinds = [file.kind for name in PAGES for file in shown(name)]

    assert set(kinds) == {
        "policy", "ceiling", "task", "models", "configuration", "json", "python", "yaml",
    }  # fmt: skip
    assert kinds.count("policy") >= len(library_names()) + 6


def test_a_mistake_in_a_shown_policy_is_seen(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match="`grants`"):
        read(Shown("policy", "version: 1\nname: p\ngrants: [files]\n"), "a.md", tmp_path)
