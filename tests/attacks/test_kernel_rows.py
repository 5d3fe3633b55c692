"""Hold docs/isolation.md to the tests: each attack on sockets, IPC and kernel has tests that name it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "isolation.md").read_text("utf-8")
ROW = re.compile(r"^\| (B\d+) \| (.+?) \| (.+?) \|$", re.MULTILINE)
TESTED = re.compile(r"`(\w+)::(\w+)`")
EXPECTED = [f"B{number}" for number in (*range(85, 101), 114, 117, 118, 120)]


def docstrings() -> dict[tuple[str, str], str]:
    """Return what the docstrings of each test of the attacks say, its module's with it."""
    found = {}
    for path in Path(__file__).parent.glob("test_*.py"):
        module = ast.parse(path.read_text("utf-8"))
        about = ast.get_docstring(module) or ""
        for node in module.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found[path.stem, node.name] = f"{about} {ast.get_docstring(node) or ''}"
    return found


def test_each_row_is_there_once_and_in_order() -> None:
    assert [row for row, _, _ in ROW.findall(PAGE)] == EXPECTED


@pytest.mark.parametrize("row", EXPECTED)
def test_each_row_names_tests_that_exist_and_name_it(row: str) -> None:
    """Followed both ways: the page names the test, and the test's or its module's docstring the attack."""
    known = docstrings()
    (named,) = [TESTED.findall(tests) for name, _, tests in ROW.findall(PAGE) if name == row]

    assert named
    for test in named:
        assert tuple(test) in known, test
        assert re.search(rf"\b{row}\b|{_ranges(known[tuple(test)], row)}", known[tuple(test)]), test


def _ranges(text: str, row: str) -> str:
    """Return a pattern for a range such as `B85 to B89` that the row lies in, or one that never matches."""
    for first, last in re.findall(r"B(\d+) to B(\d+)", text):
        if int(first) <= int(row[1:]) <= int(last):
            return f"B{first} to B{last}"
    return r"(?!)"
