"""Ask what another policy would have decided about a recorded session, action by action. It only reads.

Each proposal is parsed again from what the model wrote, as the gate parsed it, and decided again. Behind the
first place where the two part stands what the agent did all the same; told otherwise, it might have gone on
another way.
"""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from agent_runner.ceiling import read_ceiling
from agent_runner.commands import known_commands
from agent_runner.fold import COMMAND
from agent_runner.reply_bodies import read_beside
from audit import event
from audit.openings import Gone
from audit.reader import SessionReader
from cli_tools.action import LineProposal, ToolProposal
from cli_tools.errors import UsageError
from policies.capability import Capability
from policies.decide import decide
from policies.request import Allowed, Denied, NeedsApproval, SessionFacts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from audit.fields import Commitment
    from cli_tools.action import Action, Proposal
    from policies.policy import Policy
    from policies.request import Decision

Verdict = Literal["allowed", "denied", "needs_approval", "no command"]
_VERDICTS: Final[Mapping[type, Verdict]] = {
    Allowed: "allowed",
    Denied: "denied",
    NeedsApproval: "needs_approval",
}


@dataclass(frozen=True, slots=True)
class Ruling:
    """What was or would be decided."""

    verdict: Verdict
    codes: tuple[str, ...]
    """The codes of its reasons, in order."""
    reasons: tuple[str, ...]
    """The same, in words."""

    def agrees(self, other: Ruling) -> bool:
        """Tell whether both come out the same, for the same kinds of reason."""
        return (self.verdict, set(self.codes)) == (other.verdict, set(other.codes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One action, decided twice."""

    seq: int
    """Its entry."""
    action: str
    argv: tuple[str, ...]
    recorded: Ruling
    now: Ruling
    without_content: bool
    """Whether its content could not be had, so that rules about it were decided as if there were none."""

    @property
    def parts(self) -> bool:
        """Whether the two decisions differ."""
        return not self.recorded.agrees(self.now)


def replayed(state: Path, session: str, policy: Policy) -> Iterator[Replayed]:
    """Yield each action of a session with what was decided and what the policy would decide.

    The policy's grant, the task's own words and whether anybody could be asked are as they would be for a
    session of that policy today; how often a command was called is counted anew. The ceiling of this machine
    holds.

    Args:
        state: The state folder.
        session: A whole id.
        policy: The other policy.

    Raises:
        audit.errors.BrokenLedgerError: At the first entry that does not hold.
        audit.errors.BadEventError: At an entry that cannot be read.
    """
    replay = _Replay(SessionReader(state, session), policy)
    for entry, happened in replay.reader.events():
        match happened:
            case event.SessionOpened():
                replay.open(happened)
            case event.ModelAnswered():
                replay.reply(entry.seq, happened)
            case event.ActionIntended():
                yield replay.action(entry.seq, happened)
            case event.ApprovalAnswered():
                replay.answered(happened)
            case _:
                pass  # nothing else was decided by a policy


@dataclass
class _Replay:
    reader: SessionReader
    policy: Policy
    task: str | None = None
    headless: bool = True
    proposals: list[tuple[str, Proposal]] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    asked: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.catalogue = known_commands()
        self.ceiling = read_ceiling()

    def open(self, opened: event.SessionOpened) -> None:
        self.headless = opened.headless
        raw = self._value(opened.task) if opened.task_is_origin else None
        self.task = raw.decode("utf-8", "surrogateescape") if raw is not None else None

    def reply(self, seq: int, answered: event.ModelAnswered) -> None:
        """Remember what the model wrote; an earlier reply's calls are over."""
        raw = self._value(answered.raw) if answered.raw else None
        bodies = read_beside(seq, raw).bodies if raw is not None else {}
        withheld = answered.raw is not None and raw is None
        self.proposals = []
        for place, call in enumerate(answered.tool_calls):
            if call.name:
                self.proposals.append((call.call, ToolProposal(tool=call.name, arguments=call.arguments)))
            elif not withheld:
                body = bodies.get(str(place))
                self.proposals.append((call.call, LineProposal(line=call.arguments, body=body)))

    def action(self, seq: int, intended: event.ActionIntended) -> Replayed:
        proposal = self._proposal(intended.call)
        now = self._ruling(intended, proposal)
        return Replayed(
            seq=seq,
            action=intended.action,
            argv=intended.argv,
            recorded=_recorded(intended),
            now=now,
            without_content=proposal is None,
        )

    def answered(self, answered: event.ApprovalAnswered) -> None:
        """Count a call that a person allowed, where this policy would have asked as well."""
        command = self.asked.pop(answered.action, "")
        if command and answered.answer == "approved":
            self.calls[command] += 1

    def _ruling(self, intended: event.ActionIntended, proposal: Proposal | None) -> Ruling:
        if (intended.via, intended.command) == ("person", COMMAND):
            return self._may_run_commands()
        try:
            action = self.catalogue.parse(proposal) if proposal else self._without_content(intended.argv)
        except UsageError as error:
            return Ruling("no command", (error.code,), (error.message,))
        facts = SessionFacts(
            grant=self.policy.grant,
            ceiling=self.ceiling,
            task=self.task,
            headless=self.headless,
            calls=dict(self.calls),
        )
        decision = decide(self.policy, facts, action.request())
        name = action.command.name
        if isinstance(decision, Allowed):
            self.calls[name] += 1
        elif isinstance(decision, NeedsApproval):
            self.asked[intended.action] = name
        return ruling_of(decision)

    def _may_run_commands(self) -> Ruling:
        """Rule on what `pairlock exec` ran: its person chose the command, and only the grant decides."""
        grant = self.policy.grant
        if grant.holds(Capability.EXEC):
            return Ruling("allowed", (), ())
        return Ruling("denied", ("capability",), (f"session holds `{grant.label}`; a command needs `exec`",))

    def _proposal(self, call: str) -> Proposal | None:
        """Return what the model wrote for a call; of two with one id, the first that is left."""
        for place, (written, proposal) in enumerate(self.proposals):
            if call and written == call:
                del self.proposals[place]
                return proposal
        return None

    def _without_content(self, argv: tuple[str, ...]) -> Action:
        line = shlex.join(argv)
        try:
            return self.catalogue.parse(LineProposal(line=line))
        except UsageError:
            return self.catalogue.parse(LineProposal(line=line, body=b""))

    def _value(self, commitment: Commitment) -> bytes | None:
        value = self.reader.value(commitment)
        return None if isinstance(value, Gone) else value


def ruling_of(decision: Decision) -> Ruling:
    """Return a decision with its codes and words."""
    reasons = () if isinstance(decision, Allowed) else decision.reasons
    words = tuple(f"{one.message} ({one.rule})" if one.rule else one.message for one in reasons)
    return Ruling(_VERDICTS[type(decision)], tuple(one.code for one in reasons), words)


def _recorded(intended: event.ActionIntended) -> Ruling:
    codes = tuple(reason.code for reason in intended.reasons)
    words = tuple(reason.message for reason in intended.reasons)
    return Ruling(intended.verdict if intended.command else "no command", codes, words)
