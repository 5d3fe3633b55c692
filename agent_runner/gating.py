"""Make a session's gate, what programs inside call through it, and what starts sessions below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.ceiling import read_ceiling
from agent_runner.delegation import DEEPEST, Delegating
from agent_runner.lineage_use import DirectUse
from cli_tools import schema
from cli_tools.delegate import delegate
from cli_tools.errors import ActionError
from cli_tools.gate import Gate
from cli_tools.offer import offers
from cli_tools.stubs import Stubs
from policies.request import SessionFacts

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable

    from agent_runner.approvals import Asker, RecordedApprover
    from agent_runner.budget import Budget
    from agent_runner.connectors import SessionConnectors
    from agent_runner.request import SessionRequest, SessionResult
    from agent_runner.traffic import Traffic
    from audit.journal import Journal
    from cli_tools.action import Catalogue
    from cli_tools.record import Record
    from cli_tools.schema import Tool
    from sandbox.egress.gate import EgressGate
    from sandbox.session import Sandbox


class Gating:
    """Make what decides in one session.

    Args:
        request: What it was started with.
        session: Its id.
        journal: Its ledger.
        budget: Its budget.
        record: Where its actions are written down.
        approver: Asks a person, and writes down what was said.
        asker: Who is asked, for sessions below too.
        traffic: What crossed its gates, and those below.
        calls: How often its commands were allowed, there and below.
        resumed: Whether it goes on.
    """

    def __init__(  # noqa: PLR0913 - what a gate is made of
        self,
        request: SessionRequest,
        session: str,
        journal: Journal,
        budget: Budget,
        *,
        record: Record,
        approver: RecordedApprover,
        asker: Asker,
        traffic: Traffic,
        calls: Counter[str],
        resumed: bool = False,
    ) -> None:
        self.use = DirectUse(request, session, resumed=resumed)
        """Labels the workspace before what a session exercises there."""
        self._request = request
        self._session = session
        self._journal = journal
        self._budget = budget
        self._record = record
        self._approver = approver
        self._asker = asker
        self._traffic = traffic
        self._calls = calls

    async def gate(
        self,
        catalogue: Catalogue,
        sandbox: Sandbox,
        egress: EgressGate | None,
        connectors: SessionConnectors,
        *,
        delegation: Delegating | None = None,
    ) -> Gate:
        """Return the session's gate; programs inside may call what it lets through."""
        request = self._request
        gate = Gate(
            calls=self._calls,
            policy=request.policy,
            facts=SessionFacts(
                grant=request.policy.grant,
                ceiling=read_ceiling(),
                task=request.task if request.task_is_origin else None,
                headless=request.headless,
            ),
            catalogue=catalogue,
            sandbox=sandbox,
            egress=egress,
            record=self._record,
            approver=self._approver,
            connectors=connectors,
            delegation=delegation,
            before=self.use.before,
        )
        stubs = Stubs(gate, catalogue, request.policy, self._record, spend=self._spend_action)
        await sandbox.put_on_path(stubs.names, stubs)
        return gate

    def tools(self, catalogue: Catalogue, *, delegation: Delegating | None) -> tuple[Tool, ...]:
        """Return the commands that the model is offered, in stable order.

        Args:
            catalogue: The commands that exist.
            delegation: Starts sessions below this one; None where none may be.
        """
        commands = (offer.command for offer in offers(catalogue, self._request.policy))
        return schema.tools(
            [each for each in commands if delegation is not None or each.path != delegate.path]
        )

    def delegation(self, start: Callable[[SessionRequest], Awaitable[SessionResult]]) -> Delegating | None:
        """Return what starts sessions below this one; None where none may be started.

        Args:
            start: Runs a session to its end.
        """
        request = self._request
        if not request.may_delegate or (request.descent and request.descent.depth >= DEEPEST):
            return None
        return Delegating(
            request,
            self._session,
            self._journal,
            self._budget,
            calls=self._calls,
            traffic=self._traffic,
            asker=self._asker,
            start=start,
        )

    def _spend_action(self) -> None:
        """Count an action of a program inside as the loop counts the model's.

        Raises:
            ActionError: When the budget of actions has nothing left.
        """
        if (spent := self._budget.out_of_actions()) is not None:
            raise ActionError("budget", spent.reason)
        self._budget.count_action()
