"""Keep the policy in force and the configuration out of the sight of an agent whose workspace holds them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.errors import RefusedError
from agent_runner.models import configuration_path
from agent_runner.policy_file import resolved
from policies.capability import Capability
from policies.glob_links import pattern_of
from policies.globs import Glob
from policies.meeting import union
from policies.wording import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent_runner.policy_file import LoadedPolicy
    from policies.policy import Policy


def kept_unseen(loaded: LoadedPolicy, workspace: Path | None) -> LoadedPolicy:
    """Return a policy as it is in force in a workspace: its own files there are hidden.

    Args:
        loaded: The policy, as it was read.
        workspace: The folder that the session is to see; None without `files`.

    Raises:
        RefusedError: When they cannot be hidden there.
    """
    own = () if loaded.path is None else (loaded.path, *loaded.bases)
    return replace(loaded, policy=hiding(loaded.policy, own, workspace))


def hiding(policy: Policy, own: Iterable[Path], workspace: Path | None) -> Policy:
    """Hide the files that a policy was read from, and the operator's configuration.

    Args:
        policy: The policy.
        own: The files that it was read from.
        workspace: The folder that the session is to see; None without `files`.

    Returns:
        The policy, narrowed by as much as `files.hide` lacks.

    Raises:
        RefusedError: When the workspace lies in the configuration's folder, or programs write it directly:
            then nothing hides them.
    """
    if workspace is None or policy.files is None:
        return policy
    folder = workspace.resolve()
    there = dict.fromkeys(_within(folder, (*own, configuration_path().parent)))
    wanted = tuple(Glob(pattern_of(name)) for name in there)
    if not wanted:
        return policy
    if policy.files.access == "direct" and policy.grant.holds(Capability.EXEC):
        raise RefusedError(
            f"nothing keeps {quoted(next(iter(there)))} from programs that write the workspace directly",
            hint="`access: stage` does, or a policy and a configuration outside the workspace",
        )
    hide = union(policy.files.hide, wanted)
    return policy.replaced(files=policy.files.model_copy(update={"hide": hide}))


def _within(folder: Path, paths: Iterable[Path]) -> Iterator[str]:
    """Yield the names, below a folder, under which the paths are found there: as named, and as resolved."""
    for path in paths:
        named = Path(os.path.normpath(path))
        for found in (resolved(named.parent) / named.name, resolved(named)):
            if folder.is_relative_to(found):
                raise RefusedError(
                    f"workspace {quoted(str(folder))} lies in the configuration {quoted(str(found))}",
                    hint="an agent never sees the configuration: use another folder",
                )
            if found.is_relative_to(folder):
                yield str(found.relative_to(folder))
