"""Run tests against a changed module, in a fork with the libraries loaded: who noticed before runs first."""

from __future__ import annotations

import importlib
import os
import select
import signal
import sys
import traceback
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_LIBRARIES = (
    *("asyncio", "cryptography.hazmat.primitives.asymmetric.ed25519", "hypothesis.stateful", "msgspec"),
    *("orjson", "pydantic", "sqlite3", "tarfile"),
)
SAID = "said.txt"
"""The file in the copy that holds what the last tests printed."""
_SILENT_SECONDS = 120
"""How long one test may take, or all of them to be collected: an endless loop is noticed as well."""
_HELD = b"all hold\n"
_OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", "-m", "not long")
_LOADED_BEFORE = "ignore::pytest.PytestAssertRewriteWarning"


class Forks:
    """Runs test files in forks, in a copy of the checkout.

    Args:
        root: The checkout, whose own modules no fork may see.
        folder: The copy.
        tests: The test files, relative to it.
    """

    def __init__(self, root: Path, folder: Path, tests: list[str]) -> None:
        for name in _LIBRARIES:
            importlib.import_module(name)
        self._hidden = ("", str(root))
        self._folder = folder
        self._tests = tests
        self._noticed: list[str] = []

    def notices(self) -> str:
        """Return which test fails or does not end, with the modules as the copy has them; empty for none."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            self._be_the_child(writing)
        os.close(writing)
        try:
            told, ended = _heard(reading)
        finally:
            os.close(reading)
            os.killpg(child, signal.SIGKILL)  # and what its tests have left behind
            os.waitpid(child, 0)
        if ended and told[-1:] == [_HELD.decode().strip()]:
            return ""
        found = told[-1] if told else "collecting"
        self._noticed = [found, *(name for name in self._noticed if name != found)]
        return found

    def _be_the_child(self, writing: int) -> None:
        code = 1
        try:
            self._move_into_the_copy()
            plugins = [_Teller(writing, self._noticed)]
            code = int(pytest.main([*_OPTIONS, "-W", _LOADED_BEFORE, *self._tests], plugins=plugins))
            if code == 0:
                os.write(writing, _HELD)
        except BaseException:  # noqa: BLE001 - a changed module may raise anything, anywhere
            traceback.print_exc()
        finally:
            os._exit(code)

    def _move_into_the_copy(self) -> None:
        """Forget the checkout's own modules, and print into a file."""
        os.setpgid(0, 0)
        os.chdir(self._folder)
        sys.path[:] = [str(self._folder), *(path for path in sys.path if path not in self._hidden)]
        for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "audit")]:
            del sys.modules[name]
        sys.dont_write_bytecode = True
        sink = os.open(SAID, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(sink, 1)
        os.dup2(sink, 2)


def _heard(reading: int) -> tuple[list[str], bool]:
    """Return the names of the tests that began, and whether the child ended by itself."""
    said = b""
    while select.select([reading], [], [], _SILENT_SECONDS)[0]:
        part = os.read(reading, 65536)
        if not part:
            return said.decode().splitlines(), True
        said += part
        if said.endswith(_HELD):  # what its tests have left behind may hold the pipe open
            return said.decode().splitlines(), True
    return said.decode().splitlines(), False


class _Teller:
    """Puts the tests that noticed a change first, and tells of each that it begins."""

    def __init__(self, writing: int, noticed: list[str]) -> None:
        self._writing = writing
        self._noticed = noticed

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        place = {name: place for place, name in enumerate(self._noticed)}
        items.sort(key=lambda item: place.get(item.nodeid, len(place)))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        os.write(self._writing, f"{nodeid}\n".encode())
