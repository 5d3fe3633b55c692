"""Every page of the repository: its links, the commands and the goals of `make` that it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from typer.core import TyperGroup

from agent_runner.cli.reference import every_command

ROOT: Final = Path(__file__).resolve().parent.parent
PAGES: Final = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.glob("**/*.md")
    if not any(part.startswith(".") or part in {"build", "dist"} for part in path.relative_to(ROOT).parts)
)
COMMANDS: Final = dict(every_command())
NO_COMMANDS: Final = ("pairlock ledger 1", "pairlock approval 1", "pairlock host", "pairlock guest")
"""What is hashed or signed, in a format."""


def links(name: str) -> list[tuple[Path, str]]:
    """Return where a page's relative links lead: the file, and the heading's anchor or nothing."""
    found = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)", (ROOT / name).read_text("utf-8"))
    return [((ROOT / name).parent.joinpath(to).resolve() if to else ROOT / name, mark) for to, mark in found]


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shown(name: str) -> str:
    """Return what a page shows as code: indented lines, fences and words in backticks."""
    text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("    ")]
    fences = re.findall(r"```[^\n]*\n(.*?)```", text, re.DOTALL)
    return "\n".join([*lines, *fences, *re.findall(r"`([^`\n]+)`", text)])


def mistakes(line: str) -> list[str]:
    """Return what a shown command line says that no command knows."""
    found: list[str] = []
    for rest in re.split(r"(?<![\w./~-])pairlock (?=[a-z])", line)[1:]:
        name, words = "pairlock", re.split(r" -- |[|#]|&&", rest)[0].split()
        while words and isinstance(COMMANDS[name], TyperGroup):
            group, name = name, f"{name} {words.pop(0).strip(',.:;)')}"
            if name not in COMMANDS:
                name = getattr(COMMANDS[group], "otherwise", None) or name
            if name not in COMMANDS:
                return [*found, name]
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts} | {"--help"}
        named = re.findall(r"(?<![\w-])--[a-z][a-z-]*", " ".join(words))
        found += [f"{name} {option}" for option in named if option not in known]
    return found


def test_the_pages_are_found() -> None:
    assert {"README.md", "docs/policy-reference.md", "docs/policies/README.md"} <= set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_every_link_to_a_file_leads_somewhere(name: str) -> None:
    assert [str(to) for to, _ in links(name) if not to.exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_link_to_a_heading_leads_to_one(name: str) -> None:
    marked = [(to, mark) for to, mark in links(name) if mark and to.suffix == ".md"]

    assert [f"{to.name}#{mark}" for to, mark in marked if mark not in anchors(to)] == []


def test_every_page_of_the_docs_can_be_reached_from_the_readme() -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page.suffix == ".md" and page not in reached:
            reached.add(page)
            ahead += [to for to, _ in links(str(page.relative_to(ROOT)))]

    wanted = {name for name in PAGES if name.startswith("docs/")}
    assert wanted - {str(page.relative_to(ROOT)) for page in reached} == set()


@pytest.mark.parametrize("name", PAGES)
def test_every_make_command_of_the_docs_is_in_the_makefile(name: str) -> None:
    goals = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"^ *make ([a-z][a-z-]*)", shown(name), re.MULTILINE))

    assert named - goals == set()


@pytest.mark.parametrize("name", PAGES)
def test_every_pairlock_command_of_the_docs_is_one_and_has_its_options(name: str) -> None:
    lines = [line for line in shown(name).splitlines() if line.strip() not in NO_COMMANDS]

    assert [mistake for line in lines for mistake in mistakes(line)] == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pairlock audit verify last --all", []),
        ("$ pairlock run 'x' -- --nothing", []),
        ("pairlock audti verify", ["pairlock audti"]),
        ("run: pairlock audit verfy", ["pairlock audit verfy"]),
        ("pairlock audit key show --json", ["pairlock audit key show --json"]),
        ("pairlock diff last && pairlock apply --everything", ["pairlock apply --everything"]),
    ],
)
def test_a_mistake_in_a_shown_command_is_seen(line: str, expected: list[str]) -> None:
    assert mistakes(line) == expected
