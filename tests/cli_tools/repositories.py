"""Make real git repositories with git, and ask the guest's reader about them in this process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, cast

from sandbox.guest.beneath import Beneath
from sandbox.guest.git import git
from sandbox.guest.task import Task

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.guest.objects import Object
    from sandbox.guest.task import Channel

GIT = shutil.which("git") or "git"
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com", "GIT_AUTHOR_DATE": "1700000000 +0100",
    "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_COMMITTER_DATE": "1700000000 +0100",
}  # fmt: skip


def run_git(folder: Path, *words: str) -> str:
    """Run git itself, with nothing of this machine's configuration."""
    done = subprocess.run(
        [GIT, "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false", *words],
        cwd=folder, env=ENVIRONMENT, check=True, capture_output=True,
    )  # fmt: skip
    return done.stdout.decode()


def commit(folder: Path, message: str, **files: str | bytes | None) -> str:
    """Write files (None removes one), commit them, and return the commit's name."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    run_git(folder, "add", "-A")
    run_git(folder, "commit", "-q", "--allow-empty", "-m", message)
    return run_git(folder, "rev-parse", "HEAD").strip()


def new_repository(folder: Path) -> Path:
    """Make an empty repository."""
    folder.mkdir(exist_ok=True)
    run_git(folder, "init", "-q")
    return folder


class _Collecting(Task):
    """A task whose body is kept."""

    def __init__(self, values: Object) -> None:
        super().__init__(cast("Channel", None), 1, values)
        self.body = b""

    def send_body(self, data: bytes) -> None:
        """Keep it."""
        self.body += data


def ask(folder: Path, operation: str, **values: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Ask one question; returns the entries and the result."""
    task = _Collecting({"op": f"git.{operation}", **values})
    beneath = Beneath(str(folder))
    try:
        result = git(operation)(task, beneath)
    finally:
        os.close(beneath.root)
    return [json.loads(line) for line in task.body.splitlines()], cast("dict[str, Any]", result)
