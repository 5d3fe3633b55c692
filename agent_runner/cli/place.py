"""Find policy, workspace and state as a person named them on the command line, and who can be asked."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.cli.talk import Progress

if TYPE_CHECKING:
    from agent_runner.place import Place
    from agent_runner.policy_file import LoadedPolicy

PROJECT_POLICY = "pairlock.yaml"


def place_for(policy: str | None, workspace: Path | None) -> Place:
    """Return where and under what a session runs.

    Raises:
        InvalidInputError: When the policy or the folder cannot be used.
        RefusedError: When the policy is not trusted.
    """
    from agent_runner.approvals import NobodyApprover
    from agent_runner.errors import InvalidInputError
    from agent_runner.place import Place
    from agent_runner.policy_unseen import kept_unseen
    from agent_runner.program_search import search_outside
    from agent_runner.state import state_folder
    from agent_runner.terminal_approver import TerminalApprover
    from agent_runner.trust import require_trust
    from policies.capability import Capability
    from sandbox.workspace import open_workspace

    state = state_folder()
    loaded = _policy(policy, workspace)
    holds_files = loaded.policy.grant.holds(Capability.FILES)
    if workspace is not None and not holds_files:
        raise InvalidInputError(
            f"policy `{loaded.origin}` grants no `files`, so `--workspace` would be ignored",
            hint="leave it out",
        )
    folder = open_workspace(workspace or Path.cwd(), state=state) if holds_files else None
    if folder is not None:
        search_outside(folder.path)
    require_trust(loaded, folder.path if folder else None, state=state)
    headless = nobody_is_there()
    return Place(
        loaded=kept_unseen(loaded, folder.path if folder else None),
        workspace=folder,
        state=state,
        headless=headless,
        approver=NobodyApprover() if headless else TerminalApprover(),
        progress=Progress(),
    )


def nobody_is_there() -> bool:
    """Tell whether no person sits at this terminal, or none is meant to: in CI."""
    return not (sys.stdin.isatty() and sys.stderr.isatty()) or bool(os.environ.get("CI"))


def _policy(reference: str | None, workspace: Path | None) -> LoadedPolicy:
    """Return the policy that was named, else the workspace's own; there is never a grant by default."""
    from agent_runner.errors import InvalidInputError
    from agent_runner.policy_file import load_policy
    from policies.library import library_names

    if reference is not None:
        return load_policy(reference)
    own = (workspace or Path.cwd()) / PROJECT_POLICY
    if own.is_file():
        return replace(load_policy(str(own)), found=True)
    raise InvalidInputError(
        "no policy was named", hint=f"`--policy FILE`, or one of: {', '.join(library_names())}"
    )
