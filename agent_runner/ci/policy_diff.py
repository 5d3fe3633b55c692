"""Ask what a task's policy decides otherwise than an older one about recorded sessions. Nothing runs.

Behind the first action that the two part over stands what the agent did under the recorded policy.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.ceiling import read_ceiling
from agent_runner.ci.recording import read_recording, recording_path
from agent_runner.commands import known_commands
from agent_runner.policy_file import SUFFIXES, load_policy
from agent_runner.replaying import Ruling, ruling_of
from audit.escape import escape_line
from cli_tools.errors import UsageError
from policies.decide import decide
from policies.request import Allowed, SessionFacts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent_runner.ci.reading import Task
    from agent_runner.ci.recording import RecordedCall, Recording
    from policies.canonical import Plain
    from policies.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Otherwise:
    """One recorded action that the two policies decide otherwise."""

    case: str
    turn: int
    """Counted from 1."""
    action: str
    """As the model wrote it; not escaped."""
    old: Ruling
    new: Ruling

    def lines(self) -> list[str]:
        """Return it for people; escaped."""
        told = [f"{self.case}: turn {self.turn}: {self.old.verdict} -> {self.new.verdict}: {self.action}"]
        told += [f"  old: {reason}" for reason in self.old.reasons]
        told += [f"  new: {reason}" for reason in self.new.reasons]
        return [escape_line(line, width=300) for line in told]

    def as_plain(self) -> dict[str, Plain]:
        """Return it as plain values for JSON."""
        return {
            "case": self.case,
            "turn": self.turn,
            "action": self.action,
            "old": _as_plain(self.old),
            "new": _as_plain(self.new),
        }


def decided_otherwise(cases: Sequence[Task], recordings: Path, old: str) -> Iterator[Otherwise | str]:
    """Yield each recorded action that is decided otherwise, or a case that has no old policy.

    Args:
        cases: The cases; each has its recording.
        recordings: Their folder.
        old: The older policy: a file, a name of the library, or a folder of files, in which each case's is
            found by its name.

    Raises:
        InvalidInputError: When a recording is not to be had.
        policies.errors.PolicyError: When a policy is not to be had.
    """
    folder = Path(old) if Path(old).is_dir() else None
    by_name = _policies_in(folder) if folder else {}
    one = None if folder else load_policy(old).policy
    for case in cases:
        recording = read_recording(recording_path(recordings, case.name, 1), case.name)
        before = one or by_name.get(case.policy.name)
        if before is None:
            yield case.name
        else:
            yield from _of_recording(case, recording, before)


def _as_plain(ruling: Ruling) -> dict[str, Plain]:
    return {"verdict": ruling.verdict, "codes": list(ruling.codes), "reasons": list(ruling.reasons)}


def _policies_in(folder: Path) -> dict[str, Policy]:
    found = (load_policy(str(path)).policy for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES)
    return {policy.name: policy for policy in found}


def _of_recording(case: Task, recording: Recording, old: Policy) -> Iterator[Otherwise]:
    before, now = _Judge(old), _Judge(case.policy)
    for turn, replied in enumerate(recording.turns, start=1):
        for call in replied.calls:
            then, today = before.ruling(call), now.ruling(call)
            if not then.agrees(today):
                yield Otherwise(case=case.name, turn=turn, action=call.action, old=then, new=today)


@dataclass
class _Judge:
    """Decide as the gate of a headless session does, call by call."""

    policy: Policy
    calls: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.catalogue = known_commands()
        self.ceiling = read_ceiling()

    def ruling(self, call: RecordedCall) -> Ruling:
        try:
            action = self.catalogue.parse(call.proposal())
        except UsageError as error:
            return Ruling("no command", (error.code,), (error.message,))
        facts = SessionFacts(
            grant=self.policy.grant, ceiling=self.ceiling, headless=True, calls=dict(self.calls)
        )
        decision = decide(self.policy, facts, action.request())
        if isinstance(decision, Allowed):
            self.calls[action.command.name] += 1
        return ruling_of(decision)
