"""The policies touch no file, socket, clock or process but their own package data: held by their imports."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

FOLDER: Final = Path(__file__).resolve().parents[2] / "policies"
MODULES: Final = sorted(path.name for path in FOLDER.glob("**/*.py"))
PURE: Final = frozenset(
    {
        *(
            "__future__",
            "abc",
            "collections",
            "contextlib",
            "copy",
            "dataclasses",
            "decimal",
            "difflib",
            "enum",
        ),
        *("fractions", "functools", "hashlib", "ipaddress", "itertools", "json", "math", "operator", "re"),
        *("shlex", "string", "textwrap", "tomllib", "types", "typing", "unicodedata", "xml"),
        *("policies", "publicsuffixlist", "pydantic", "pydantic_core", "ruamel"),
    }
)
CALLS: Final = frozenset({"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"})
PACKAGE_DATA: Final = {"importlib.resources"}
ALLOWED: Final = {
    "package_data.py": PACKAGE_DATA,
    "library.py": PACKAGE_DATA,
    "public_suffixes.py": PACKAGE_DATA,
    "reference.py": PACKAGE_DATA | {"sys.stdout"},  # run as a program, it writes a page of the docs
    "canonical.py": {"io.StringIO"},  # a text in memory
}


def touched(tree: ast.Module) -> set[str]:
    """Return what a module uses of the world outside: modules or their parts, and calls of built-ins."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found |= {part for alias in names for part in _used(tree, alias)}
            case ast.ImportFrom(module=str(module), names=names, level=0) if _outside(module):
                found |= {f"{module}.{alias.name}" for alias in names}
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                found.add(f"{name}()")
    return found


def _outside(module: str) -> bool:
    return module.partition(".")[0] not in PURE


def _used(tree: ast.Module, alias: ast.alias) -> set[str]:
    """Return which parts of an imported module are used; the module itself when it stands alone anywhere."""
    if not _outside(alias.name):
        return set()
    name = alias.asname or alias.name
    whole = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == name]
    parts = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    ]
    only_parts = 0 < len(whole) == len(parts)
    return {f"{alias.name}.{part}" for part in parts} | (set() if only_parts else {alias.name})


@pytest.mark.parametrize("name", MODULES)
def test_a_module_of_the_policies_uses_nothing_of_the_world_but_package_data(name: str) -> None:
    tree = ast.parse((FOLDER / name).read_text("utf-8"))

    assert touched(tree) == ALLOWED.get(name, set())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\nos.remove('x')", {"os.remove"}),
        ("import io\nx = io", {"io"}),
        ("import io\nio.StringIO()\nio.open('x')", {"io.StringIO", "io.open"}),
        ("import os.path", {"os.path"}),
        ("import requests\nrequests.get", {"requests.get"}),
        ("from datetime import datetime", {"datetime.datetime"}),
        ("def f():\n    import time as t\n    return t.time()", {"time.time"}),
        ("open('x')", {"open()"}),
        ("import re\nimport json", set()),
    ],
)
def test_what_a_module_touches_is_seen(text: str, expected: set[str]) -> None:
    assert touched(ast.parse(text)) == expected
