"""Install NVIDIA Dynamo and a tiny model for it, once for each version of what stands in this folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.agent_runner.cached_folder import cached

HERE: Final = Path(__file__).resolve().parent
_NEEDED: Final = ("requirements.txt", "dynamo.txt")
_MADE: Final = ("model_folder.py", "replies.json")
_INSTALL_SECONDS: Final = 900


def python() -> str:
    """Return the interpreter of an environment that has Dynamo."""
    return _python(cached(f"dynamo-{_digest(_NEEDED)}", _install))


def model() -> Path:
    """Return the model's folder."""
    return cached(f"dynamo-model-{_digest((*_NEEDED, *_MADE))}", _make) / "model"


def _digest(names: tuple[str, ...]) -> str:
    parts = b"".join((HERE / name).read_bytes() for name in names) + sys.version.encode()
    return hashlib.sha256(parts).hexdigest()[:16]


def _python(folder: Path) -> str:
    return str(folder / "venv" / "bin" / "python")


def _install(folder: Path) -> None:
    """Install into a folder that will be there under this very path: an environment cannot be moved."""
    _run(sys.executable, "-m", "venv", str(folder / "venv"))
    pip = (_python(folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, "--requirement", str(HERE / "requirements.txt"))
    _run(*pip, "--no-deps", "--requirement", str(HERE / "dynamo.txt"))


def _make(folder: Path) -> None:
    _run(python(), str(HERE / "model_folder.py"), str(folder / "model"))


def _run(*command: str) -> None:
    done = subprocess.run(
        ["nice", *command] if shutil.which("nice") else command,
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
