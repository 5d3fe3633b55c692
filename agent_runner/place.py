"""Say where and under what a session runs, before it is known what it is to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_runner.request import SessionRequest

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.approvals import Asker
    from agent_runner.backends.backend import Backend
    from agent_runner.policy_file import LoadedPolicy
    from agent_runner.transcript import Watcher
    from cli_tools.action import Catalogue
    from sandbox.runtime.engine import Progress
    from sandbox.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where and under what a session runs."""

    loaded: LoadedPolicy
    workspace: Workspace | None
    state: Path
    headless: bool
    approver: Asker
    progress: Progress
    catalogue: Catalogue | None = None
    """The commands that exist; None for those that this machine knows."""

    def request(self, task: str, backend: Backend, watcher: Watcher) -> SessionRequest:
        """Return what a session is started with there; no destination comes from its task."""
        return SessionRequest(
            task=task,
            policy=self.loaded.policy,
            policy_origin=self.loaded.origin,
            workspace=self.workspace,
            backend=backend,
            state=self.state,
            headless=self.headless,
            task_is_origin=False,
            approver=self.approver,
            watcher=watcher,
            progress=self.progress,
            catalogue=self.catalogue,
        )
