"""The binaries that run without an interpreter are what their source says, for each machine."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox.guest import doors
from sandbox.runtime.elf import read_elf

FOLDER = Path(doors.__file__).parent / "stub"
SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "stub.sh"
COMPILERS = ("x86_64-linux-gnu-gcc", "aarch64-linux-gnu-gcc")


@pytest.mark.parametrize("name", ["x86_64", "aarch64", "start-x86_64", "start-aarch64"])
def test_it_needs_no_loader_and_no_library(name: str) -> None:
    found = read_elf(FOLDER / name)

    assert (found.interpreter, found.needed) == ("", ())
    assert (FOLDER / name).stat().st_size < 4096


def started(*argv: str, told: int) -> int:
    """Run what becomes a program, descriptor 3 being `told`; return how it ended."""
    actions = [(os.POSIX_SPAWN_DUP2, told, 3)]
    path = FOLDER / f"start-{platform.machine()}"
    return os.waitstatus_to_exitcode(
        os.waitpid(os.posix_spawn(path, ["start", *argv], {}, file_actions=actions), 0)[1]
    )


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        (("9999", "64", "2", "/nowhere", "/bin/sh", "sh", "-c", "exit 3"), 3, b""),
        (
            ("9999", "64", "1", "/bin/sh", "sh", "-c", "test `ulimit -Hf`,`ulimit -Hn` = 19,64"),
            0,
            b"",
        ),
        (("9999", "64", "2", "/etc/passwd", "/nowhere", "x"), 127, bytes([errno.EACCES])),
        (("9999", "64", "1", "/nowhere", "x"), 127, bytes([errno.ENOENT])),
        (("9999", "64", "0", "x"), 127, bytes([errno.ENOENT])),
        (("9999", "64", "9", "/bin/sh", "sh"), 127, bytes([errno.EIO])),
        ((), 127, bytes([errno.EIO])),
    ],
)
def test_the_start_becomes_the_first_candidate_that_is_there_or_tells_why_not(
    argv: tuple[str, ...], code: int, told: bytes
) -> None:
    told_here, tell = os.pipe()

    ended = started(*argv, told=tell)
    os.close(tell)

    assert (ended, os.read(told_here, 10)) == (code, told)
    os.close(told_here)


def test_the_committed_binaries_are_what_the_same_compilers_make_of_the_source(tmp_path: Path) -> None:
    """Where other compilers are installed, or none, there is nothing to compare with."""
    if not all(map(shutil.which, COMPILERS)):
        pytest.skip("the compilers are not installed")
    subprocess.run([SCRIPT, tmp_path], check=True, capture_output=True)
    if (tmp_path / "compiled-by").read_text() != (FOLDER / "compiled-by").read_text():
        pytest.skip("the compilers are of another version")

    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert made == {name: (FOLDER / name).read_bytes() for name in made}
