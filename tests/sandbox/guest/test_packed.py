"""The guest's modules come out of one file; what is not the guest's is found as ever."""

from __future__ import annotations

import importlib.util
import marshal
import sys
from typing import TYPE_CHECKING

import pytest

from sandbox.guest.packed import NAME, Packed, use
from sandbox.runtime.tree import Compiled, packed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def undone() -> Iterator[None]:
    """Put the finders and the modules back."""
    finders, modules = list(sys.meta_path), set(sys.modules)
    yield
    sys.meta_path[:] = finders
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def pack(folder: Path, **sources: str) -> None:
    """Write modules as the runtime volume holds them."""
    modules = []
    for name, text in sources.items():
        (folder / f"{name}.py").write_text(text)
        modules.append((name, Compiled(source=folder / f"{name}.py", shown_as=f"/rt/guest/{name}.py")))
    (folder / NAME).write_bytes(packed(modules))


@pytest.mark.usefixtures("undone")
def test_modules_of_the_package_come_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "boxed").mkdir()
    (tmp_path / "boxed" / "__init__.py").write_text("")
    pack(tmp_path / "boxed", one="from .two import answer", two="answer = 42")
    for name in ("one", "two"):
        (tmp_path / "boxed" / f"{name}.py").unlink()
    sys.path.append(str(tmp_path))
    try:
        use(str(tmp_path / "boxed"), "boxed")
        one = importlib.import_module("boxed.one")
    finally:
        sys.path.remove(str(tmp_path))

    assert one.answer == 42
    assert one.__package__ == "boxed"


def test_nothing_else_comes_from_the_file() -> None:
    """No other package, no module below one of ours, no name that the file does not hold."""
    finder = Packed("boxed", {"one": marshal.dumps(compile("", "x", "exec"))})

    assert [
        finder.find_spec(name) for name in ("one", "json", "other.one", "boxed.two", "boxed.one.one")
    ] == [None] * 5
    found = finder.find_spec("boxed.one")
    assert found is not None
    assert found.name == "boxed.one"


@pytest.mark.usefixtures("undone")
def test_without_the_file_modules_are_found_as_ever(tmp_path: Path) -> None:
    before = list(sys.meta_path)

    use(str(tmp_path), "boxed")

    assert sys.meta_path == before
    assert importlib.util.find_spec("json") is not None
