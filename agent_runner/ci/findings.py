"""Gather what is worth a reviewer's look in what came of a task: failures, denials, changes that act later.

Read from results, ledgers and stages; nothing is written, run or escaped here.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from agent_runner.looking import look_at
from audit import event
from audit.errors import AuditError
from audit.reader import SessionReader
from audit.state import StateFiles
from audit.summary import spelled_argv
from policies.errors import PolicyError
from sandbox.stage import MatchNothing
from sandbox.stage.changes import Concern
from sandbox.stage.errors import StageError
from sandbox.stage.verdict import decide

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from agent_runner.ci.outcome import TaskResult
    from audit.fields import Reason
    from sandbox.stage import Change

Level = Literal["error", "warning", "note"]
Kind = Literal["session", "check", "ledger", "denied", "egress", "refused", "later"]
MOST_FINDINGS: Final = 5000
"""Of one run; GitHub shows no more of one file (docs: SARIF support for code scanning, limits)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to look at."""

    kind: Kind
    code: str
    """Which of its kind: a denial's code, a refusal's; empty where there is but one."""
    level: Level
    task: str
    """The task's name."""
    file: str
    """The task file as it was named."""
    subject: str
    """What it is about: the same in every run that finds the same; not escaped."""
    message: str
    """One line for a person; not escaped."""
    session: str = ""
    rule: str = ""
    """The rule that decided, as `origin:line:column`; empty where none did."""
    times: int = 1
    """How often it was found."""

    @property
    def name(self) -> str:
        """Return the finding's rule: its kind and code."""
        return f"{self.kind}/{self.code}" if self.code else self.kind

    @property
    def fingerprint(self) -> str:
        """Return what tells it from others and is the same in the next run: no time, id or count is in it."""
        told = json.dumps([self.task, self.name, self.subject])
        return hashlib.sha256(told.encode("utf-8", "backslashreplace")).hexdigest()


def findings_of(results: Iterable[TaskResult], state: Path) -> list[Finding]:
    """Return what was found in each task, equal ones once, the weightiest first.

    Args:
        results: What came of tasks.
        state: The state folder that holds their sessions.
    """
    found: dict[str, Finding] = {}
    for result in results:
        for each in (*_failures(result), *_looked_at(result, state)):
            before = found.get(each.fingerprint)
            found[each.fingerprint] = _again(before) if before else each
    weight = {"error": 0, "warning": 1, "note": 2}
    return sorted(found.values(), key=lambda each: weight[each.level])


def _again(finding: Finding) -> Finding:
    return replace(finding, times=finding.times + 1)


def _failures(result: TaskResult) -> Iterator[Finding]:
    """Yield what makes the task fail."""
    if result.agent_code and not result.is_skipped:
        ended = result.status or "no session"
        yield _found(result, "session", "error", f"session {ended}", f"{ended}: {result.reason}")
    for check in result.checks:
        if check.code:
            yield _found(result, "check", "error", check.name, f"{check.name}: {check.why}")
    for fault in result.faults:
        verdict = fault.partition(": ")[2].partition(" ")[0]  # what follows it names entries
        yield _found(result, "ledger", "error", verdict, f"the ledger does not verify: {fault}")


def _looked_at(result: TaskResult, state: Path) -> list[Finding]:
    """Return what is found in a session; one that cannot be looked at is a finding itself."""
    try:
        return [*_of_session(result, state)]
    except Exception as error:  # noqa: BLE001 - what came of the tasks is told, whatever a session holds
        what = f"its session cannot be looked at: {type(error).__name__}: {error}"
        return [_found(result, "session", "warning", "not looked at", what)]


def _of_session(result: TaskResult, state: Path) -> Iterator[Finding]:
    if not result.session:
        return
    with suppress(AuditError, OSError):  # a ledger that cannot be read is among the faults already
        yield from _denials(result, state)
    with suppress(StageError, AuditError, PolicyError, OSError):  # nothing staged, or reviewed by now
        look = look_at(StateFiles(state).session(result.session), with_patch=False)
        for change in look.changes.changes:
            yield from _of_change(result, change)


def _denials(result: TaskResult, state: Path) -> Iterator[Finding]:
    for _, happened in SessionReader(state, result.session).events():
        match happened:
            case event.ActionIntended(verdict="denied" | "needs_approval"):
                told = spelled_argv(happened.argv)
                yield _denied(result, "denied", told, happened.reasons)
            case event.EgressOpened(verdict="denied"):
                told = f"{happened.method or 'connect'} {happened.scheme}://{happened.host}:{happened.port}"
                yield _denied(result, "egress", f"{told}{happened.path}", happened.reasons)
            case event.EgressRequested(verdict="denied"):
                told = f"{happened.method} {happened.host}:{happened.port}{happened.path}"
                yield _denied(result, "egress", told, happened.reasons)
            case _:
                pass


def _denied(
    result: TaskResult, kind: Literal["denied", "egress"], told: str, reasons: tuple[Reason, ...]
) -> Finding:
    first = reasons[0] if reasons else None
    rule = first.rule if first else None
    why = f": {first.message}" if first else ""
    return _found(
        result,
        kind,
        "warning",
        told,
        f"denied `{told}`{why}",
        code=first.code if first else "",
        rule=f"{rule.origin}:{rule.line}:{rule.column}" if rule else "",
    )


def _of_change(result: TaskResult, change: Change) -> Iterator[Finding]:
    refused = decide(change, MatchNothing())
    if refused is not None:
        what = f"changed `{change.path}`, which apply refuses: {refused.reason}"
        yield _found(result, "refused", "warning", change.path, what, code=str(refused.code))
    if Concern.RUNS_LATER in change.concerns:
        what = f"changed `{change.path}`, which may run on a person's machine later: {change.later}"
        yield _found(result, "later", "note", change.path, what)


def _found(  # noqa: PLR0913 - what a finding is made of
    result: TaskResult,
    kind: Kind,
    level: Level,
    subject: str,
    message: str,
    *,
    code: str = "",
    rule: str = "",
) -> Finding:
    return Finding(
        kind=kind,
        code=code,
        level=level,
        task=result.name,
        file=result.origin,
        subject=subject,
        message=message,
        session=result.session,
        rule=rule,
    )
