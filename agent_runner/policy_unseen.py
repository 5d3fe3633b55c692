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
from sandbox.stage.second_names import protected_behind

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


def hiding(
    policy: Policy, own: Iterable[Path], workspace: Path | None, *, secret: Iterable[Path] = ()
) -> Policy:
    """Hide the files that a policy was read from, and the operator's configuration, or protect them.

    Args:
        policy: The policy.
        own: The files that it was read from.
        workspace: The folder that the session is to see; None without `files`.
        secret: Files that are hidden, or the session refused.

    Returns:
        The policy, narrowed by as much as `files.hide` lacks; with `access: direct`, `files.protect`.

    Raises:
        RefusedError: When the workspace lies in the configuration's folder, or is worked on directly and
            holds that, or the policy beside programs: then nothing hides them.
    """
    if workspace is None or policy.files is None:
        return policy
    folder = workspace.resolve()
    files = tuple(dict.fromkeys(_within(folder, own)))
    configured = tuple(dict.fromkeys(_within(folder, (*secret, configuration_path().parent))))
    if policy.files.access == "direct":
        return _direct(policy, folder, files, configured)
    wanted = tuple(Glob(pattern_of(name)) for name in dict.fromkeys((*files, *configured)))
    if not wanted:
        return policy
    hide = union(policy.files.hide, wanted)
    return policy.replaced(files=policy.files.model_copy(update={"hide": hide}))


def _direct(policy: Policy, folder: Path, own: tuple[str, ...], configured: tuple[str, ...]) -> Policy:
    """Protect a policy's own files where nothing can be hidden, and what protected names lead to.

    A policy is no secret, and was read before the start: it has only to stay as it is.
    """
    assert policy.files is not None  # noqa: S101 - the caller looked
    programs = policy.grant.holds(Capability.EXEC)
    if bare := (*own, *configured) if programs else configured:
        raise RefusedError(
            f"nothing keeps {quoted(bare[0])} from an agent that works on the workspace directly",
            hint=f"{'a policy' if bare[0] in own else 'keep it'} outside the workspace, or `access: stage`",
        )
    if programs:
        return policy
    protect = union(policy.files.protect, tuple(Glob(pattern_of(name)) for name in own))
    files = policy.files.model_copy(update={"protect": protect})
    led_to = protected_behind(files.protected_globs, folder)
    return policy.replaced(files=files.model_copy(update={"protect": union(protect, led_to)}))


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
