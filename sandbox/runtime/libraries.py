"""Find the shared libraries that this machine's own programs need; no path is spelt, the loader is asked."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from sandbox.runtime.elf import read_elf
from sandbox.runtime.errors import LibraryMissingError, RuntimeBuildError

_FOUND = re.compile(r"^\s*(?P<name>\S+) => (?P<path>/.+) \(0x[0-9a-f]+\)$")
_LIST_SECONDS = 60


class Libraries:
    """The libraries found so far: each name once, so that all programs agree on it.

    Args:
        loader: The loader of the interpreter; every program has to be started by the same one.
    """

    def __init__(self, loader: Path) -> None:
        self._loader = loader
        self._found: dict[str, Path] = {}
        self._loader_names = {loader.name, read_elf(loader).soname}

    @property
    def found(self) -> dict[str, Path]:
        """Every library that was added, by the name under which it is asked for."""
        return dict(self._found)

    def add(self, program: Path) -> None:
        """Add what one program or library needs, and what those need.

        Raises:
            LibraryMissingError: When one is not to be found; nothing is added then.
        """
        additions: dict[str, Path] = {}
        waiting = [program]
        while waiting:
            current = waiting.pop()
            for name in self._new(current, additions):
                if "/" in name:
                    path = Path(os.path.normpath(name.replace("$ORIGIN", str(current.parent))))
                    name = path.name  # noqa: PLW2901  an address in place of a name: uv's interpreters
                else:
                    path = self._resolve(current, name)
                additions[name] = path
                waiting.append(path)
        self._found |= additions

    def add_if_present(self, name: str, *, beside: Path) -> None:
        """Add a library that is only ever opened at run time, when this machine has it beside another."""
        path = beside.parent / name
        if path.exists():
            self.add(path)
            self._found[name] = path

    def _new(self, current: Path, additions: dict[str, Path]) -> list[str]:
        known = self._found.keys() | additions.keys() | self._loader_names
        return [name for name in read_elf(current).needed if name not in known]

    def _resolve(self, program: Path, name: str) -> Path:
        for line in self._listing(program).splitlines():
            match = _FOUND.match(line)
            if match and match["name"] == name:
                return Path(match["path"])
        raise LibraryMissingError(program, name)

    def _listing(self, program: Path) -> str:
        """Ask the loader what it would load; it maps the files, and runs nothing of them."""
        kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
        try:
            done = subprocess.run(
                [str(self._loader), "--list", str(program)],
                capture_output=True,
                text=True,
                timeout=_LIST_SECONDS,
                check=False,
                env=kept,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise RuntimeBuildError(f"the loader `{self._loader}` did not list the libraries: {exc}") from exc
        return done.stdout
