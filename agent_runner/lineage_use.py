"""Label a workspace that a session writes in at once, before each first use of what the session holds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent_runner.descent import brought_by, carried
from agent_runner.errors import RefusedError
from agent_runner.exercised import exercised
from agent_runner.lineage import require_lineage, wrote_unreviewed
from audit.state import StateFiles
from cli_tools.delegate import delegate
from cli_tools.errors import ActionError
from policies.capability import Capability
from sandbox.stage.errors import LabelError

if TYPE_CHECKING:
    from agent_runner.request import SessionRequest
    from cli_tools.command import Command
    from sandbox.workspace import Workspace


class DirectUse:
    """Raise the label of a session's workspace; of a session that does not write in it at once, do nothing.

    INVARIANT: the label is durable, and its entry in the host's log, before the first action begins that
    exercises a capability. From then on the session may write what came of it, whenever it likes. What
    others bring meanwhile to where it can read is on the label before its next action.

    Args:
        request: What the session was started with.
        session: Its id.
        resumed: Whether it goes on: what it did before counts from its first action on.
    """

    def __init__(self, request: SessionRequest, session: str, *, resumed: bool) -> None:
        files = request.policy.files
        self._request = request
        self._session = session
        self._resumed = resumed
        self._workspace = request.workspace if files is not None and files.access == "direct" else None
        self._labelled: frozenset[Capability] = frozenset()
        self._counted: frozenset[Capability] = frozenset()
        self._log_bytes = -1
        self._one_at_a_time = asyncio.Lock()

    async def before(self, command: Command) -> None:
        """Label what a command is about to exercise; one that delegates hands on everything.

        Raises:
            ActionError: When the label cannot be written, or would make three; the command must not begin.
            audit.errors.LedgerError: When the change cannot be written down.
        """
        granted = self._request.policy.grant.capabilities
        await self.of(granted if command.path == delegate.path else command.needs)

    async def of(self, needs: frozenset[Capability]) -> None:
        """Do the same for what is about to exercise these."""
        if self._workspace is None or not needs:
            return
        async with self._one_at_a_time:
            if not needs <= self._labelled or await self._more_came():
                await asyncio.to_thread(self._raise, self._workspace, needs)
                self._labelled |= needs

    async def _more_came(self) -> bool:
        """Tell whether others brought to where it can read what its label does not hold.

        Raises:
            ActionError: When the host's log cannot be looked at.
        """
        files = StateFiles(self._request.state)
        try:
            log_bytes = files.log.stat().st_size  # mostly all there is to do, and no work for another thread
        except OSError as error:
            why = (error.strerror or "").lower()
            raise ActionError("label", f"the host's log cannot be looked at: {why}") from error
        if log_bytes == self._log_bytes:
            return False
        brought = await asyncio.to_thread(carried, files.session(self._session).folder)
        more = not brought <= self._counted
        self._log_bytes = self._log_bytes if more else log_bytes
        return more

    def _raise(self, workspace: Workspace, needs: frozenset[Capability]) -> None:
        request, state, session = self._request, self._request.state, self._session
        folder = StateFiles(state).session(session).folder
        grant, brought = request.policy.grant, brought_by(request.descent)
        counts = grant.capabilities & (needs | {Capability.FILES})
        counts |= brought.capabilities | carried(folder)
        counts |= exercised(folder, grant) if self._resumed else frozenset()
        why = "the session writes in the workspace directly"
        try:
            wrote_unreviewed(state, workspace.identity, session, counts, why=why)
            self._counted |= counts
            require_lineage(state, workspace, grant, brought)
        except LabelError as error:
            raise ActionError("label", error.message, hint=error.hint) from error
        except RefusedError as error:
            raise ActionError("lineage", error.message, hint=error.hint) from error
