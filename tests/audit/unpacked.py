"""Bundles, as somebody else gets them: packed, unpacked, verified with nothing of ours installed."""

import subprocess
import sys
import tarfile
from pathlib import Path

from audit import standalone
from audit.bundle import write_bundle
from audit.keys import host_vkey
from audit.note import VerifierKey
from audit.state import StateFiles
from tests.audit.samples import SESSION

OTHER = "zzzzzzzzzzzz"


def pack(state: Path, target: Path) -> None:
    """Write a bundle of the one session."""
    with target.open("wb") as file:
        write_bundle(state, [SESSION], file)


def key_of(state: Path) -> VerifierKey:
    """Return the host's public key."""
    key = host_vkey(StateFiles(state))
    assert key is not None
    return key


def unpack(bundle: Path, folder: Path) -> Path:
    """Unpack a bundle and return its folder."""
    with tarfile.open(bundle) as archive:
        archive.extractall(folder, filter="data")
    return folder / "bundle"


def verify_there(folder: Path, *arguments: str) -> tuple[int, str]:
    """Verify with the bundle's own verifier, in a Python without our packages."""
    return _verified(folder / "verify.py", folder, *arguments)


def verify_state(state: Path, *arguments: str) -> tuple[int, str]:
    """Verify a state folder with the verifier that goes into bundles."""
    return _verified(Path(standalone.__file__), state, str(state), *arguments)


def _verified(verifier: Path, folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-I", "-S", str(verifier), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={})
    assert done.stderr == ""
    return done.returncode, done.stdout
