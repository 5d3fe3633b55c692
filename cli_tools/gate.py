"""Hold the gate: the only door an action goes through. Parse, decide, journal, act, journal."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from cli_tools import connector, observation
from cli_tools.command import Surroundings
from cli_tools.earlier import EarlierOutput
from cli_tools.errors import ActionError, UsageError
from cli_tools.placeholders import with_secrets
from cli_tools.questions import ProgramQuestions
from cli_tools.redacted import redacted, redacted_error
from cli_tools.run.jobs import Jobs
from policies.decide import decide, spent_calls
from policies.request import ActionRequest, Allowed, Denied, NeedsApproval, SessionFacts
from sandbox.errors import OperationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cli_tools.action import Action, Catalogue, Proposal, WordsProposal
    from cli_tools.command import Command
    from cli_tools.delegate import Delegation
    from cli_tools.observation import Observation
    from cli_tools.record import Record
    from policies.policy import Policy
    from sandbox.egress.gate import EgressGate
    from sandbox.session import Sandbox


CLOSE_SECONDS: Final = 5.0
"""For actions of programs that have ended to be cancelled, and their ends to be written down."""
_OUTPUT_LAST = ActionRequest(command=("output", "last"))


class Approver(Protocol):
    """Ask a person whether one action may happen."""

    async def approve(self, number: str, action: Action, question: NeedsApproval) -> Allowed | Denied:
        """Return what the person said; time out is no."""
        ...


class Gate:
    """Let proposals through or say why not: the loop's one at a time, and beside them those of programs.

    Args:
        policy: The policy in force; it never changes during a session.
        facts: What the decision knows about the session.
        catalogue: The commands that exist.
        sandbox: Where actions act.
        egress: The way out, in a session with `network`.
        record: Where they are written down; if it fails, nothing more is done.
        approver: Who is asked.
        connectors: The servers that the operator configured.
        delegation: Starts sessions below this one; None where none may be.
        before: Awaited before an allowed action acts; it does not, when this raises.
        calls: Command -> how often it was allowed before, which a `max_calls` counts too; None for never.
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
        delegation: Delegation | None = None,
        before: Callable[[Command], Awaitable[None]] | None = None,
        calls: Counter[str] | None = None,
    ) -> None:
        self._policy = policy
        self._calls: Counter[str] = Counter() if calls is None else calls
        self._facts = replace(facts, calls=MappingProxyType(self._calls))
        """Of every moment: the calls are those until now."""
        self._catalogue = catalogue
        self._sandbox = sandbox
        self._egress = egress
        self._record = record
        self._approver = approver
        self._program_questions = ProgramQuestions(approver)
        self._connectors = connectors
        self._delegation = delegation
        self._before = before
        self._earlier = EarlierOutput()
        self._jobs = Jobs(record.program_ended)
        self._programs: set[str] = set()
        self._is_closed = False
        self._asked = 0
        """Actions of programs that have begun and not come to their end."""
        self._none_asked = asyncio.Event()
        self._none_asked.set()
        self._pages = isinstance(decide(policy, facts, _OUTPUT_LAST), Allowed)

    async def act(self, proposal: Proposal | WordsProposal, *, parent: str | None = None) -> Observation:
        """Take one proposal through the gate and return what came of it, which is durable.

        Args:
            proposal: What is asked for.
            parent: The action whose program asks, empty when that is not known; None when no program does.

        Raises:
            audit.errors.LedgerError: When the action could not be written down; it was not done.
            sandbox.errors.SandboxLostError: When the sandbox is gone.
        """
        if parent is None:
            return await self._acted(proposal, None, None)
        if self._is_closed:
            over = ActionError("closed", "the session is at its end, and programs call no more commands")
            return observation.of_error(over, action="")
        self._asked += 1
        self._none_asked.clear()
        try:
            return await self._acted(proposal, parent, None)
        finally:
            self._asked -= 1
            if not self._asked:
                self._none_asked.set()

    async def act_in_turn(self, proposal: Proposal, intended: Callable[[], None]) -> Observation:
        """Do the same for the loop, which goes on to another entry before anybody is shown what came of it.

        INVARIANT: the outcome is durable with the next entry that is, at the latest when the journal has
        `settled`; until then neither the model nor a person sees it.

        Args:
            proposal: What is asked for.
            intended: Called once the intent is durable, and with it all that was recorded before.

        Raises:
            audit.errors.LedgerError: As `act`.
            sandbox.errors.SandboxLostError: As `act`.
        """
        return await self._acted(proposal, None, intended)

    async def _acted(
        self,
        proposal: Proposal | WordsProposal,
        parent: str | None,
        intended: Callable[[], None] | None,
    ) -> Observation:
        number = self._record.next()
        try:
            action = self._catalogue.parse(proposal)
        except UsageError as error:
            await self._record.unparsed(number, proposal, error, parent=parent)
            if intended is not None:
                intended()
            return observation.of_error(error, action=number)
        try:
            return await self._decided(number, action, parent, intended)
        except asyncio.CancelledError:
            if parent is not None:  # whoever asked has gone; what the loop gives up nobody knows the end of
                await self._record.cancelled(number)
            raise

    async def _decided(
        self, number: str, action: Action, parent: str | None, intended: Callable[[], None] | None
    ) -> Observation:
        request, name = action.request(), action.command.name
        decision = decide(self._policy, self._facts, request)
        spent = list(spent_calls(self._policy, self._facts, request))
        # INVARIANT: counted before anything is waited for, so that two at once cannot both be the last one.
        counted = 0 if isinstance(decision, Denied) else 1
        self._calls[name] += counted
        await self._record.intent(number, action, decision, parent=parent)
        if intended is not None:
            intended()
        for rule, bound, done in spent:
            await self._record.calls_spent(number, rule.command.text, bound=bound, observed=done)
        if isinstance(decision, NeedsApproval):
            approver = self._approver if parent is None else self._program_questions
            decision = await approver.approve(number, action, decision)
            await self._record.answer(number, decision)
        match decision:
            case Denied():
                self._calls[name] -= counted
                return observation.of_denial(decision, action=number, command=name)
            case Allowed():
                in_turn = intended is not None
                return await self._carry_out(
                    number, action, decision, for_model=parent is None, in_turn=in_turn
                )
            case _:
                assert_never(decision)

    def started_program(self, number: str) -> None:
        """Take note that an action has started a program, which may call commands in its turn."""
        self._programs.add(number)

    def has_started(self, number: str) -> bool:
        """Say whether an action of this number has started a program."""
        return number in self._programs

    async def close(self) -> None:
        """End what runs in the background; programs are refused from now on, and what they began is over."""
        # INVARIANT: closed before anything is waited for: a program that is told to end may call commands.
        self._is_closed = True
        await self._jobs.stop_all()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._none_asked.wait()

    async def _carry_out(
        self, number: str, action: Action, decision: Allowed, *, for_model: bool, in_turn: bool
    ) -> Observation:
        name = action.command.name
        surroundings = Surroundings(
            sandbox=self._sandbox,
            egress=self._egress,
            action=number,
            allowed=decision,
            body=action.body,
            earlier=self._earlier if for_model else None,
            jobs=self._jobs,
            connectors=connector.ConnectorsOfAction(self._connectors, number),
            delegation=self._delegation if for_model else None,
            hidden=self._hides,
        )
        try:
            if self._before is not None:
                await self._before(action.command)
            await self._record.started(number, action)
            if action.command.started(action.parameters):
                self.started_program(number)
            whole = await with_secrets(action, self._record.redactor, self._sandbox)
            if whole is not action:
                surroundings = replace(surroundings, body=whole.body)
            with self._egress.during(number) if self._egress and for_model else nullcontext():
                outcome = await action.command.act(surroundings, **whole.parameters)
        except (ActionError, OperationError) as error:
            await self._record.failure(number, error, ahead=in_turn)
            seen = observation.of_error(error, action=number, command=name)
            return redacted_error(seen, self._record.redactor)
        outcome = redacted(outcome, self._record.redactor)
        seen = observation.of_outcome(outcome, action=number, command=name, pages=self._pages)
        if seen.cut_from and for_model:
            self._earlier.keep(number, seen.cut_from)
        await self._record.outcome(number, outcome, seen, ahead=in_turn)
        return seen

    def _hides(self, path: str) -> bool:
        files = self._policy.files
        return files is not None and files.hidden_by(path) is not None
