"""The page on what goes wrong quotes messages that the code has, and exit codes that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from agent_runner.cli.exits import Exit

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
PACKAGES: Final = ("policies", "audit", "sandbox", "cli_tools", "agent_runner")
ROWS: Final = re.findall(r"^\| `([^`]+)`[^|]*\| ([0-9, ]+) \|", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def texts() -> str:
    """Return every text of the code, one to a line; `…` stands for what is put into it."""
    found: list[str] = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(_piece(value) for value in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found).replace("`", "")


def _piece(value: ast.expr) -> str:
    return str(value.value) if isinstance(value, ast.Constant) else "…"


def test_the_page_has_messages() -> None:
    assert len(ROWS) > 20


@pytest.mark.parametrize(("message", "codes"), ROWS, ids=[message for message, _ in ROWS])
def test_a_message_of_the_page_is_one_of_the_code(texts: str, message: str, codes: str) -> None:
    pieces = [piece.strip() for piece in message.split("…")]
    if message == "…: no space left on device":  # the system's own words
        pieces = []

    assert [piece for piece in pieces if piece and piece not in texts] == []
    assert {int(code) for code in codes.split(", ")} <= {code.value for code in Exit}
