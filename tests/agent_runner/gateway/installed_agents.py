"""Install agents and SDKs that nobody here wrote, once, outside of the checkout."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from tests.agent_runner.cached_folder import cached

if TYPE_CHECKING:
    from pathlib import Path

_INSTALL_SECONDS: Final = 900
QWEN_CODE: Final = ("@qwen-code/qwen-code@0.15.10",)
NPM_SDKS: Final = ("openai@6.49.0", "@anthropic-ai/sdk@1.12.0")


def npm_packages(*packages: str) -> Path:
    """Return a folder in which `node_modules` holds them and what they need."""

    def install(folder: Path) -> None:
        (folder / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
        npm = shutil.which("npm")
        assert npm, "npm is needed to install the agents"
        _run(npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", *packages)

    return cached(_name("npm", packages), install)


def _name(kind: str, packages: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\n".join((*packages, sys.version)).encode()).hexdigest()
    return f"agents-{kind}-{digest[:16]}"


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False, env=os.environ
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
