"""What came of tasks: of each check, of each task, of all of them. Values alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Verdict = Literal["passed", "failed", "skipped"]
FAILED: Final = 1
SANDBOX: Final = 4
LEDGER: Final = 6
MODEL: Final = 7
INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What came of one check."""

    name: str
    """What was checked, as the task file has it; not escaped."""
    code: int = 0
    """0 when it holds, else an exit code of the command line's."""
    why: str = ""
    """What was found instead, one line, not escaped; empty when it holds."""
    output: str = ""
    """What a command wrote, its end alone where it is long; neutralised, not escaped."""
    session: str = ""
    """The session that it ran in; empty for what no program looked at."""
    seconds: float = 0.0
    """How long it took."""
    is_skipped: bool = False
    """Whether it was not made, because the agent's session failed."""

    @property
    def verdict(self) -> Verdict:
        """Return what came of it in one word."""
        if self.is_skipped:
            return "skipped"
        return "failed" if self.code else "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What came of one task."""

    name: str
    """The case's: the task's, with what its matrix and repetition add."""
    origin: str
    """The task file as it was named."""
    task: str = ""
    """The name in the task file; cases that share it and `variant` are repetitions of each other."""
    variant: str = ""
    """What of the task's matrix this is, as in `small.strict.seed-1`; empty where there is none."""
    seed: int | None = None
    """The model's seed; None where the task names none."""
    attempts: int = 1
    """How often it was tried; more than once only after failures that another try may mend."""
    departure: str = ""
    """Where a replay was no longer the recorded session: turn, action, expected, got; lines, escaped."""
    policy: str
    """The policy's name."""
    grant: str
    """Its grant's label."""
    model: str
    session: str = ""
    """The agent's session; empty when there was none."""
    status: str = ""
    """How that ended; empty when there was none."""
    agent_code: int = 0
    """The same for the agent's session alone; 1 when it stopped without saying that it was done."""
    code: int = 0
    """0 when the task passed, else an exit code of the command line's."""
    reason: str = ""
    """Why the agent's session ended, or why there was none; one line, not escaped."""
    checks: tuple[CheckResult, ...] = ()
    faults: tuple[str, ...] = ()
    """What does not verify in its ledgers; one line each, not escaped."""
    turns: int = 0
    actions: int = 0
    denials: int = 0
    tokens: int = 0
    """In and out."""
    cost_micros: int = 0
    """Millionths of a US dollar, by the operator's price; 0 where there is none."""
    changes: int = 0
    """Changed paths that wait for a review."""
    seconds: float = 0.0
    """From its start to the end of its last check."""
    is_skipped: bool = False
    """Whether it was never started."""

    @property
    def verdict(self) -> Verdict:
        """Return what came of it in one word."""
        if self.is_skipped:
            return "skipped"
        return "failed" if self.code else "passed"

    @property
    def was_not_come_to(self) -> bool:
        """Tell whether no sandbox or no model was there for it, before its agent had done anything."""
        return self.agent_code in {SANDBOX, MODEL} and not self.actions

    @property
    def sessions(self) -> tuple[str, ...]:
        """Return every session of the task's, the agent's own first."""
        return tuple(each for each in (self.session, *(check.session for check in self.checks)) if each)


def code_of_task(agent: int, checks: Sequence[CheckResult], faults: Sequence[str]) -> int:
    """Return the exit code that stands for a task.

    Args:
        agent: That of the agent's session; 1 when it stopped without saying that it was done.
        checks: What was checked.
        faults: What does not verify; a ledger that does not is never outweighed.
    """
    if faults:
        return LEDGER
    codes = (agent, *(check.code for check in checks))
    return next((code for code in codes if code), 0)


def code_of_all(results: Sequence[TaskResult]) -> int:
    """Return what a run ends with: what its failed tasks have in common, else 1; 6 where a ledger is bad.

    Where none failed and some were never started, somebody interrupted it: that is no success.
    """
    codes = {result.code for result in results if result.code}
    for weighty in (LEDGER, INTERRUPTED):
        if weighty in codes:
            return weighty
    if not codes and any(result.is_skipped for result in results):
        return INTERRUPTED
    return codes.pop() if len(codes) == 1 else FAILED if codes else 0
