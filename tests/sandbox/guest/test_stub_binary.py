"""The stub's binaries are what their source says, for each machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox.guest import doors
from sandbox.runtime.elf import read_elf

FOLDER = Path(doors.__file__).parent / "stub"
SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "stub.sh"
COMPILERS = ("x86_64-linux-gnu-gcc", "aarch64-linux-gnu-gcc")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_stub_needs_no_loader_and_no_library(machine: str) -> None:
    found = read_elf(FOLDER / machine)

    assert (found.interpreter, found.needed) == ("", ())
    assert (FOLDER / machine).stat().st_size < 4096


def test_the_committed_binaries_are_what_the_same_compilers_make_of_the_source(tmp_path: Path) -> None:
    """Where other compilers are installed, or none, there is nothing to compare with."""
    if not all(map(shutil.which, COMPILERS)):
        pytest.skip("the compilers are not installed")
    subprocess.run([SCRIPT, tmp_path], check=True, capture_output=True)
    if (tmp_path / "compiled-by").read_text() != (FOLDER / "compiled-by").read_text():
        pytest.skip("the compilers are of another version")

    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert made == {name: (FOLDER / name).read_bytes() for name in made}
