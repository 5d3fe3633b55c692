"""Find the interpreter that pairlock itself runs in; nothing is copied here."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from sandbox.runtime.elf import read_elf
from sandbox.runtime.errors import RuntimeBuildError


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """Where the parts of one interpreter lie on this machine."""

    executable: Path
    """The program itself, every symlink resolved."""
    loader: Path
    """The loader that the program names (PT_INTERP), as named."""
    library: str
    """The library folder below its prefix, for example `lib/python3.11`."""
    standard: Path
    """The standard library's folder."""
    extensions: Path
    """The folder of its compiled modules (`lib-dynload`); may be missing where all are built in."""


def own_interpreter() -> Interpreter:
    """Return the interpreter that runs this, without its virtual environment.

    Raises:
        RuntimeBuildError: When this machine is not Linux, or the interpreter is linked statically.
    """
    if sys.platform != "linux":
        raise RuntimeBuildError(
            f"the runtime is made from the interpreter of a Linux machine; this one is `{sys.platform}`",
            hint="run pairlock inside the Linux machine that the engine runs on",
        )
    executable = Path(getattr(sys, "_base_executable", "") or sys.executable).resolve()
    loader = read_elf(executable).interpreter
    if not loader:
        raise RuntimeBuildError(
            f"the interpreter `{executable}` has no loader: it is linked statically",
            hint="run pairlock with an interpreter that is linked with glibc",
        )
    library = f"{sys.platlibdir}/python{sys.version_info.major}.{sys.version_info.minor}"
    return Interpreter(
        executable=executable,
        loader=Path(loader),
        library=library,
        standard=_standard_library(),
        extensions=Path(sys.base_exec_prefix) / library / "lib-dynload",
    )


def _standard_library() -> Path:
    """Return the folder that holds `os.py`: `sysconfig` may name another one in a virtual environment."""
    return Path(os.__file__).resolve().parent
