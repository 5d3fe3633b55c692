"""Hold the list of known attacks to the tests: each row has one that names it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"(?<![A-Za-z0-9])[bB](\d{2,3})(?: to [bB](\d{2,3}))?(?![A-Za-z0-9])|_b(\d{2,3})(?=_)")
LAST = 120
ON_THE_HOST = ("agent_runner", "audit", "cli_tools", "policies", "sandbox")
SHELLS = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell", "subprocess_shell"}


def named(text: str) -> Iterator[int]:
    """Yield the numbers of the attacks that a text names, as `B07`, `B07 to B09` or `_b07_`."""
    for first, last, within in NAMED.findall(text):
        yield from range(int(first or within), int(last or first or within) + 1)


def test_each_known_attack_is_named_by_a_test() -> None:
    tests = (path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    found = {number for path in tests for number in named(path.read_text("utf-8"))}

    assert [f"B{number:02}" for number in range(1, LAST + 1) if number not in found | {57}] == []


def test_no_code_of_ours_starts_a_shell() -> None:
    """B57: commands are lists, on the host as in the guest."""
    shells = []
    for path in (file for folder in ON_THE_HOST for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if called in SHELLS or any(word.arg == "shell" for word in node.keywords):
                shells.append(f"{path.relative_to(ROOT)}:{node.lineno}")

    assert shells == []
