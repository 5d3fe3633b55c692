"""Run git where it only reads what the user committed, or makes a branch; nothing of theirs runs with it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox.stage.errors import StageError
from sandbox.workspace import identity_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.workspace import WorkspaceIdentity

GIT_SECONDS: Final = 60
"""Longest that one git command may take; each reads or moves one thing."""

_ISOLATED: Final = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "safe.directory=*",
    "-c", "protocol.allow=never", "-c", "core.pager=cat",
)  # fmt: skip


class BranchError(StageError):
    """Raised when the changes cannot be committed to a branch; nothing was moved."""


def git_program(workspace: Path) -> str:
    """Find git on PATH, but never one in the workspace."""
    path = os.pathsep.join(part for part in os.get_exec_path() if part.startswith("/"))
    git = shutil.which("git", path=path)
    if git is None or Path(git).resolve().is_relative_to(workspace):
        raise BranchError("there is no `git` on PATH outside the workspace")
    return git


def git_runner(git: str, workspace: Path) -> Callable[..., str]:
    """Return a function that runs one git command in the workspace, isolated, and returns what it said."""

    def run(*arguments: str) -> str:
        environment = {
            "PATH": os.defpath, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C",
            "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0",
            # The repository's own config may allow a protocol that runs a program, and git asks a partial
            # clone's remote for any object that is missing: the variable holds over every config.
            "GIT_ALLOW_PROTOCOL": "", "GIT_NO_LAZY_FETCH": "1",
        }  # fmt: skip
        try:
            done = subprocess.run(
                [git, *_ISOLATED, *arguments],
                cwd=workspace, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True,
                timeout=GIT_SECONDS,
            )  # fmt: skip
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip().splitlines()
            raise BranchError(f"git says: {said[-1] if said else error.returncode}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BranchError(f"git cannot be run: {error}") from error
        return os.fsdecode(done.stdout).removesuffix("\n")

    return run


def repository_elsewhere(workspace: Path) -> WorkspaceIdentity | None:
    """Return the folder of git's that a workspace's commits lie in, where that is not the work tree's `.git`.

    So it is in a linked work tree, of a bare repository or another, and in one whose repository lies apart:
    who works in the repository's own folder finds there what was committed.

    Args:
        workspace: A folder in a work tree.

    Raises:
        BranchError: When it is in no git repository.
    """
    run = git_runner(git_program(workspace), workspace)
    found = (
        Path(run("rev-parse", "--path-format=absolute", "--git-path", "refs/heads")).resolve().parent.parent
    )
    inside = found.is_relative_to(workspace)
    beside = found.name == ".git" and workspace.is_relative_to(found.parent)
    return None if inside or beside else identity_of(found)
