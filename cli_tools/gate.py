"""Hold the gate: the only door an action goes through. Parse, decide, journal, act, journal."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, assert_never

from cli_tools import connector, observation
from cli_tools.command import Surroundings
from cli_tools.earlier import EarlierOutput
from cli_tools.errors import ActionError, UsageError
from cli_tools.run.jobs import Jobs
from policies.decide import decide, spent_calls
from policies.request import ActionRequest, Allowed, Denied, NeedsApproval, SessionFacts
from sandbox.errors import OperationError

if TYPE_CHECKING:
    from cli_tools.action import Action, Catalogue, Proposal
    from cli_tools.observation import Observation
    from cli_tools.record import Record
    from policies.policy import Policy
    from sandbox.egress.gate import EgressGate
    from sandbox.session import Sandbox


_OUTPUT_LAST = ActionRequest(command=("output", "last"))


class Approver(Protocol):
    """Ask a person whether one action may happen."""

    async def approve(self, action: Action, question: NeedsApproval) -> Allowed | Denied:
        """Return what the person said; time out is no."""
        ...


class Gate:
    """Let proposals through, one at a time, or say why not.

    Args:
        policy: The policy in force; it never changes during a session.
        facts: What the decision knows about the session.
        catalogue: The commands that exist.
        sandbox: Where actions act.
        egress: The way out, in a session with `network`.
        record: Where they are written down; if it fails, nothing more is done.
        approver: Who is asked.
        connectors: The servers that the operator configured.
    """

    def __init__(  # noqa: PLR0913 - each is a room that the gate stands between
        self,
        *,
        policy: Policy,
        facts: SessionFacts,
        catalogue: Catalogue,
        sandbox: Sandbox,
        egress: EgressGate | None,
        record: Record,
        approver: Approver,
        connectors: connector.Connectors = connector.NONE,
    ) -> None:
        self._policy = policy
        self._facts = facts
        self._catalogue = catalogue
        self._sandbox = sandbox
        self._egress = egress
        self._record = record
        self._approver = approver
        self._connectors = connectors
        self._calls: Counter[str] = Counter()
        self._earlier = EarlierOutput()
        self._jobs = Jobs()
        self._pages = isinstance(decide(policy, facts, _OUTPUT_LAST), Allowed)

    async def act(self, proposal: Proposal) -> Observation:
        """Take one proposal through the gate and return what the model is shown.

        Raises:
            audit.errors.LedgerError: When the action could not be written down; it was not done.
            sandbox.errors.SandboxLostError: When the sandbox is gone.
        """
        try:
            action = self._catalogue.parse(proposal)
        except UsageError as error:
            number = await self._record.unparsed(proposal, error)
            return observation.of_error(error, action=number)
        decision = decide(self._policy, self._now(), action.request())
        number = await self._record.intent(action, decision)
        for rule, bound, done in spent_calls(self._policy, self._now(), action.request()):
            await self._record.calls_spent(number, rule.command.text, bound=bound, observed=done)
        if isinstance(decision, NeedsApproval):
            decision = await self._approver.approve(action, decision)
            await self._record.answer(number, decision)
        match decision:
            case Denied():
                return observation.of_denial(decision, action=number, command=action.command.name)
            case Allowed():
                self._calls[action.command.name] += 1
                return await self._carry_out(number, action, decision)
            case _:
                assert_never(decision)

    async def close(self) -> None:
        """End what runs in the background; nothing is to go through afterwards."""
        await self._jobs.stop_all()

    async def _carry_out(self, number: str, action: Action, decision: Allowed) -> Observation:
        name = action.command.name
        surroundings = Surroundings(
            sandbox=self._sandbox,
            egress=self._egress,
            allowed=decision,
            body=action.body,
            earlier=self._earlier,
            jobs=self._jobs,
            connectors=connector.ConnectorsOfAction(self._connectors, number),
            hidden=self._hides,
        )
        await self._record.started(number, action)
        try:
            with self._egress.during(number) if self._egress else nullcontext():
                outcome = self._record.redacted(await action.command.act(surroundings, **action.parameters))
        except (ActionError, OperationError) as error:
            await self._record.failure(number, error)
            return self._record.redacted_error(observation.of_error(error, action=number, command=name))
        seen = observation.of_outcome(outcome, action=number, command=name, pages=self._pages)
        if seen.cut_from:
            self._earlier.keep(number, seen.cut_from)
        await self._record.outcome(number, outcome, seen)
        return seen

    def _hides(self, path: str) -> bool:
        files = self._policy.files
        return files is not None and files.hidden_by(path) is not None

    def _now(self) -> SessionFacts:
        return replace(self._facts, calls=dict(self._calls))
