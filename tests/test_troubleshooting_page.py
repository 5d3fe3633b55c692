"""The page on what goes wrong quotes messages that the code has, each with the exit code of its error."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from agent_runner.cli.exits import Exit, exit_code

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
PACKAGES: Final = ("policies", "audit", "sandbox", "cli_tools", "agent_runner")
ROWS: Final = re.findall(r"^\| `([^`]+)`[^|]*\| ([0-9, ]+) \|", PAGE, re.MULTILINE)
NOT_IN_AN_ERROR: Final = frozenset(
    {
        "DOES NOT VERIFY",
        "a fault of pairlock's own: …",
        "no model is configured",
        "this machine gives no more …",
    }
)
"""What is printed, or put into an error elsewhere: the code cannot be seen from the text."""
OF_THE_SYSTEM: Final = "…: no space left on device"
Text = tuple[str, str, str]
"""What the code says, the name of the error that says it (empty where none does), and the module."""


@pytest.fixture(scope="module")
def texts() -> list[Text]:
    """Return every text of the code; `…` stands for what is put into it."""
    files = [path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return [
        (text, error, ".".join(file.with_suffix("").parts))
        for file in files
        for text, error in _texts(ast.parse((ROOT / file).read_text("utf-8")), "", "")
    ]


def _texts(node: ast.AST, error: str, inside: str) -> Iterator[tuple[str, str]]:
    match node:
        case ast.JoinedStr(values=values):
            yield "".join(map(_piece, values)).replace("`", ""), error
            return
        case ast.Constant(value=str(text)):
            yield text.replace("`", ""), error
            return
        case ast.ClassDef(name=name):
            inside = name if name.endswith("Error") else ""
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            error = name if name.endswith("Error") else inside if name == "__init__" else error
    for child in ast.iter_child_nodes(node):
        yield from _texts(child, error, inside)


def _piece(value: ast.expr) -> str:
    return str(value.value) if isinstance(value, ast.Constant) else "…"


def test_the_page_has_messages() -> None:
    assert len(ROWS) > 20


@pytest.mark.parametrize(("message", "codes"), ROWS, ids=[message for message, _ in ROWS])
def test_a_message_of_the_page_is_one_of_the_code(texts: list[Text], message: str, codes: str) -> None:
    """All of it in one text, in order; and an error that says it has the code of the page."""
    if message == OF_THE_SYSTEM:
        return
    pattern = ".*".join(re.escape(piece.strip()) for piece in message.split("…"))
    found = [(error, module) for text, error, module in texts if re.search(pattern, text, re.DOTALL)]

    assert found
    if message not in NOT_IN_AN_ERROR:
        of_errors = {_code(error, module) for error, module in found if error}
        assert {int(code) for code in codes.split(", ")} <= of_errors


def _code(name: str, module: str) -> Exit | None:
    """Return the exit code of an error as it is known where it is raised."""
    places = [module, *(f"{package}.errors" for package in PACKAGES)]
    known = (getattr(importlib.import_module(place), name, None) for place in places)
    kind = next(kind for kind in known if kind is not None)
    return exit_code(kind.__new__(kind))
