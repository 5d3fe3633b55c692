"""Find the everyday programs of this machine that the starter image carries; nothing is copied here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.runtime.elf import is_elf, read_elf

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERYDAY = (
    "[", "awk", "b2sum", "base64", "basename", "bash", "bunzip2", "bzip2", "cat", "chmod", "cksum",
    "cmp", "comm", "cp", "csplit", "cut", "date", "dd", "df", "diff", "diff3", "dirname", "du", "echo",
    "egrep", "env", "expand", "expr", "factor", "false", "fgrep", "find", "fmt", "fold", "git", "grep",
    "groups", "gunzip", "gzip", "head", "hostname", "id", "install", "join", "kill", "link", "ln", "ls",
    "make", "md5sum", "mkdir", "mkfifo", "mktemp", "mv", "nice", "nl", "nohup", "nproc", "numfmt", "od",
    "paste", "patch", "pathchk", "pgrep", "pr", "printenv", "printf", "ps", "pwd", "readlink",
    "realpath", "rm", "rmdir", "sdiff", "sed", "seq", "sh", "sha1sum", "sha256sum", "sha512sum", "shuf",
    "sleep", "sort", "split", "stat", "stdbuf", "sum", "sync", "tac", "tail", "tar", "tee", "test",
    "timeout", "touch", "tr", "true", "truncate", "tsort", "tty", "uname", "unexpand", "uniq", "unlink",
    "wc", "which", "whoami", "xargs", "xz", "yes", "zcat",
)  # fmt: skip
"""Taken where this machine has them; a missing one is no error."""

_FOLDERS = (Path("/usr/bin"), Path("/bin"), Path("/usr/local/bin"))
_SHELLS = (b"#!/bin/sh", b"#! /bin/sh", b"#!/usr/bin/sh", b"#!/bin/bash", b"#!/usr/bin/bash")
_GIT_SECONDS = 20


def everyday_programs(loader: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and file of each everyday program that this machine has and the loader can start."""
    for name in EVERYDAY:
        path = next((folder / name for folder in _FOLDERS if (folder / name).is_file()), None)
        if path is not None and startable(path, loader):
            yield name, path.resolve()


def environment_program(name: str, loader: Path) -> Path | None:
    """Return a program of the environment that pairlock runs in, else of the machine, else None."""
    for folder in (Path(sys.prefix) / "bin", *_FOLDERS):
        path = folder / name
        if path.is_file() and startable(path, loader):
            return path.resolve()
    return None


def git_scripts() -> tuple[Path, tuple[Path, ...]]:
    """Return git's own folder and the shell scripts in it; nothing where git is not to be had."""
    try:
        done = subprocess.run(
            ["/usr/bin/git", "--exec-path"],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=True,
            env={},
        )
    except (OSError, subprocess.SubprocessError):
        return Path(), ()
    folder = Path(done.stdout.strip())
    scripts = (path for path in sorted(folder.iterdir()) if path.is_file() and _is_shell_script(path))
    return folder, tuple(scripts)


def startable(path: Path, loader: Path) -> bool:
    """Return whether a file is a shell script, or a program for this very loader."""
    with path.open("rb") as file:
        head = file.read(64)
    if not is_elf(head):
        return head.startswith(_SHELLS)
    wanted = read_elf(path).interpreter
    return not wanted or Path(wanted).resolve() == loader.resolve()


def _is_shell_script(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(64)
    return head.startswith(_SHELLS) or not head.startswith((b"#!", b"\x7fELF"))
