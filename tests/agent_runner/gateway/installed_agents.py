"""Install agents and SDKs that nobody here wrote, once, outside of the checkout, as they are locked here."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.agent_runner.cached_folder import cached

LOCKED: Final = Path(__file__).parent / "npm"
PYPI: Final = Path(__file__).parent / "pypi"
"""Each `NAME.txt` is `NAME.in`, locked by `uv pip compile --universal --generate-hashes`."""
MINI_SWE_AGENT: Final = "mini-swe-agent"
AIDER: Final = "aider"
PYDANTIC_AI: Final = "pydantic-ai"
QWEN_CODE: Final = "qwen-code"
CLAUDE_CODE: Final = "claude-code"
CLINE: Final = "cline"
CODEX: Final = "codex"
CONTINUE: Final = "continue"
FRAMEWORKS: Final = "frameworks"
OPENCODE: Final = "opencode"
PI: Final = "pi"
SMOLAGENTS: Final = "smolagents"
STRANDS_AGENTS: Final = "strands-agents"
NPM_SDKS: Final = "sdks"
_INSTALL_SECONDS: Final = 600
_FILES: Final = ("package.json", "package-lock.json")


def pypi_packages(name: str) -> Path:
    """Return a folder in which `packages` holds a locked set; wheels only, so that no package's code is run.

    Args:
        name: The set: a lock file.
    """
    lock = PYPI / f"{name}.txt"

    def install(folder: Path) -> None:
        quiet = ("--quiet", "--disable-pip-version-check", "--no-compile")
        strict = ("--require-hashes", "--only-binary", ":all:", "--requirement", str(lock))
        into = ("--target", str(folder / "packages"))
        # pip unpacks in the folder for temporary files first, where that many bytes may be memory.
        _run(sys.executable, "-m", "pip", "install", *quiet, *strict, *into, unpacked_in=folder)

    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    return cached(f"agents-pypi-{digest[:16]}", install)


def npm_packages(name: str) -> Path:
    """Return a folder in which `node_modules` holds a locked set; no package's own script is run for it.

    Args:
        name: The set: a folder with `package.json` and its lock file.
    """
    locked = [LOCKED / name / file for file in _FILES]

    def install(folder: Path) -> None:
        for file in locked:
            shutil.copy(file, folder)
        npm = shutil.which("npm")
        assert npm, "npm is needed to install the agents"
        # `npm ci` refuses a lock without the packages for other systems, and not every registry has those.
        quiet = ("--no-audit", "--no-fund", "--loglevel=error")
        _run(npm, "install", "--no-save", "--prefix", str(folder), "--ignore-scripts", *quiet)

    digest = hashlib.sha256(b"".join(file.read_bytes() for file in locked)).hexdigest()
    return cached(f"agents-npm-{digest[:16]}", install)


def _run(*command: str, unpacked_in: Path | None = None) -> None:
    environment = {**os.environ, "TMPDIR": str(unpacked_in)} if unpacked_in else None
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False, env=environment
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
