"""Start a session below another one: within its policy, on its budget, in a sandbox of its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from agent_runner.budget_limits import less_crossed, limits_of_policy, policy_of_limits
from agent_runner.descent import Descent, handed_down
from agent_runner.errors import RunnerError
from agent_runner.ids import new_session_id
from agent_runner.used import Used
from agent_runner.waiting import changes_waiting
from audit import event
from audit.state import StateFiles
from cli_tools.delegate import Returned, grant_words
from cli_tools.errors import ActionError
from policies.capability import Capability
from policies.errors import UnjoinableError
from policies.grant import Grant
from policies.join import join
from policies.lawful import unlawful
from policies.library import library_names, library_policy
from policies.lineage import decide_delegation
from policies.request import Denied
from policies.source import parse_policy
from sandbox.stage.errors import StageError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable, Mapping

    from agent_runner.approvals import Asker
    from agent_runner.budget import Budget
    from agent_runner.budget_limits import BudgetLimits
    from agent_runner.request import SessionRequest, SessionResult
    from agent_runner.traffic import Traffic
    from agent_runner.transcript import Watcher
    from audit.journal import Journal
    from cli_tools.delegate import Errand
    from policies.policy import Policy
    from sandbox.egress.rules import Crossed

DEEPEST: Final = 2
"""Sessions above one another below the one that a person started."""
MOST_SESSIONS: Final = 16
"""Sessions below the one that a person started, in its whole life."""


@runtime_checkable
class NestingWatcher(Protocol):
    """A watcher that can also look at sessions below the one that it looks at."""

    def below(self, session: str, task: str) -> Watcher:
        """Return who looks at one that begins."""
        ...


class Delegating:
    """Start sessions below one; `cli_tools.delegate.Delegation`.

    Args:
        request: What the session above was started with.
        session: Its id.
        journal: Its ledger.
        budget: Its budget.
        calls: How often its commands were allowed, there and below.
        traffic: What crossed its gates, and those below.
        asker: Who answers its questions, and those of the sessions below it.
        start: Runs a session to its end.
    """

    def __init__(  # noqa: PLR0913 - what a session hands down
        self,
        request: SessionRequest,
        session: str,
        journal: Journal,
        budget: Budget,
        *,
        calls: Counter[str],
        traffic: Traffic,
        asker: Asker,
        start: Callable[[SessionRequest], Awaitable[SessionResult]],
    ) -> None:
        self._request = request
        self._session = session
        self._journal = journal
        self._budget = budget
        self._calls = calls
        self._traffic = traffic
        self._asker = asker
        self._start = start

    async def delegate(self, errand: Errand) -> Returned:
        """Run a session below this one to its end.

        Raises:
            ActionError: When it may not be started; nothing was.
            asyncio.CancelledError: When the session above is being ended; this one has been, too.
            audit.errors.LedgerError: When it cannot be written down.
        """
        # INVARIANT: what the descent knows and the bounds are one moment's; nothing waits between them.
        descent = self._descent()
        policy = policy_below(
            self._request.policy, errand, self._budget.left, self._traffic.by_rule(self._session)
        )
        child = self._below(errand, policy, descent)
        await self._journal.record(
            event.SessionDelegated(
                action=errand.action,
                child=child.session,
                grant=policy.grant.label,
                policy_digest=policy.digest,
            )
        )
        self._budget.add(Used(children=1))
        try:
            result = await self._start(child)
        except (RunnerError, StageError) as error:
            raise ActionError("delegation", error.message, hint=str(getattr(error, "hint", ""))) from error
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # the session below took the cancellation for its own, and closed
        return _returned(child, result)

    def _descent(self) -> Descent:
        request, above = self._request, self._request.descent
        depth = above.depth + 1 if above else 1
        if depth > DEEPEST:
            raise ActionError(
                "delegation", f"this session is {DEEPEST} below the first one, and may not delegate"
            )
        if self._budget.sessions >= MOST_SESSIONS:
            raise ActionError("delegation", f"{MOST_SESSIONS} sessions were delegated to, which is the most")
        folder = StateFiles(request.state).session(self._session).folder
        line = handed_down(folder, request.policy.grant, above)
        told = self._traffic.pot.told(self._session)
        return Descent(
            parent=self._session,
            line=line,
            depth=depth,
            budget=self._budget,
            calls=self._calls,
            traffic=self._traffic,
            known={**(above.known if above else {}), self._session: told},
        )

    def _below(self, errand: Errand, policy: Policy, descent: Descent) -> SessionRequest:
        request, session = self._request, new_session_id()
        watcher = request.watcher
        return replace(
            request,
            task=errand.task,
            task_is_origin=False,  # a model wrote it: no destination may come from it
            policy=policy,
            policy_origin=f"{request.policy_origin}, delegated by {self._session}",
            workspace=request.workspace if policy.grant.holds(Capability.FILES) else None,
            approver=self._asker,
            watcher=watcher.below(session, errand.task) if isinstance(watcher, NestingWatcher) else _Unseen(),
            session=session,
            descent=descent,
        )


def policy_below(
    policy: Policy, errand: Errand, left: BudgetLimits, crossed: Mapping[str, Crossed]
) -> Policy:
    """Return what a delegated session runs under: the policy above, narrowed, and what is left of its budget.

    Args:
        policy: The policy above.
        errand: What the session above asks for.
        left: What is left of its budget.
        crossed: Rule -> what went through under it already.

    Raises:
        ActionError: When it would be wider, or nothing is left.
    """
    policy = less_crossed(policy, crossed)
    narrowed = _granting(policy, policy.grant if errand.grant is None else _granted(policy, errand.grant))
    if errand.policy:
        narrowed = _joined(narrowed, errand.policy)
    limits = left.least(limits_of_policy(narrowed))
    if errand.turns is not None:
        limits = replace(limits, turns=min(limits.turns, errand.turns))
    for name, amount in (("turns", limits.turns), ("tokens", limits.tokens), ("actions", limits.actions)):
        if amount < 1:
            raise ActionError("budget", f"nothing is left of the budget of {name}", hint="finish by yourself")
    below = policy_of_limits(narrowed, replace(limits, wall_seconds=max(1.0, limits.wall_seconds)))
    if problems := unlawful(below):
        raise ActionError("delegation", problems[0].message, hint=problems[0].hint)
    return below


def _granted(policy: Policy, words: str) -> Grant:
    wanted = Grant.of(Capability(word) for word in grant_words(words))
    decision = decide_delegation(policy.grant, wanted)
    if isinstance(decision, Denied):
        reason = decision.reasons[0]
        raise ActionError(str(reason.code), reason.message, hint=reason.hint)
    return wanted


def _granting(policy: Policy, grant: Grant) -> Policy:
    return policy.replaced(
        grant=grant,
        files=policy.files if grant.holds(Capability.FILES) else None,
        network=policy.network if grant.holds(Capability.NETWORK) else None,
        exec=policy.exec if grant.holds(Capability.EXEC) else None,
        outputs=None,  # a person reads what a session that they started keeps
        expect=(),
    )


def _joined(policy: Policy, name: str) -> Policy:
    """Narrow a policy to one of the library; no file is looked for, for an agent chose the name."""
    source = library_policy(name)
    if source is None:
        names = ", ".join(library_names())
        raise ActionError("delegation", f"no policy `{name[:80]}` in the library", hint=f"one of: {names}")
    try:
        return join(policy, parse_policy(source.text, origin=source.origin, find=library_policy))
    except UnjoinableError as error:
        mend = "leave `--policy` out; `--grant` narrows too"
        raise ActionError("delegation", error.message, hint=mend) from error


def _returned(child: SessionRequest, result: SessionResult) -> Returned:
    spoke = result.error is None
    ended = result.status if spoke else f"{result.status}: {result.reason}"
    unfinished = ", without saying that it was done" if result.unfinished and spoke else ""
    return Returned(
        session=child.session,
        exit_code=result.exit_code,
        ended=f"{ended}{unfinished}",
        said=result.reason if spoke else "",
        changes=changes_waiting(child.state, child.session) if result.plan is not None else 0,
    )


class _Unseen:
    """Look away."""

    def said(self, turn: int, reply: object) -> None:
        """Take no note."""

    def saw(self, observation: object) -> None:
        """Take no note."""
