"""The page of promises names tests and benchmarks that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROWS = [
    line
    for line in (ROOT / "docs" / "promises.md").read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| promise", "| ---"))
]


@pytest.mark.parametrize("row", ROWS)
def test_a_promise_names_what_holds_it(row: str) -> None:
    """Each row names at least one file or folder that is there, or says that its test is pending."""
    holding = row.rsplit("|", 2)[1]
    named = re.findall(r"(?:tests|benchmarks)/[\w/.]+", holding)
    bare = [name for name in re.findall(r"[\w/.]*\btest_\w+\.py", holding) if name not in named]

    assert bare == [], "write whole paths, so that they can be looked for"
    assert named or "[test pending]" in row
    assert [name for name in named if not (ROOT / name).exists()] == []
