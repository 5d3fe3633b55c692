"""Write down what came of tasks: a line each, JSON, JUnit XML, Markdown. Pure: text out, escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_runner.ci.outcome import code_of_all
from agent_runner.ci.rates import rate_as_plain, rate_lines, rates_markdown, rates_of
from agent_runner.counted import counted
from audit.escape import escape_line
from audit.markdown import LARGEST_BYTES, inert
from policies import junit
from policies.junit import Case, Suite

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agent_runner.ci.outcome import CheckResult, TaskResult
    from policies.canonical import Plain

_LONGEST: Final = 500
"""Characters of what was found; all of it is in the JSON."""
_SHOWN_LINES: Final = 10
_PAGE_LINES: Final = 40
"""Of what a failed check's command wrote: in the log, and on the page; the JSON has 4,000 characters."""


def result_lines(results: Sequence[TaskResult]) -> Iterator[str]:
    """Yield a line for each task and for each check that does not hold, and a sum."""
    for result in results:
        yield f"{result.verdict:<8} {result.name:<22} {result.seconds:6.1f} s  {_short(result)}".rstrip()
        if result.code and not result.is_skipped:
            ended = f"{result.status or 'no session'}: {result.reason}"
            yield f"           {escape_line(ended, width=_LONGEST)}"
        for check in result.checks:
            if check.code:
                yield f"           {escape_line(f'{check.name}: {check.why}', width=_LONGEST)}"
                yield from (f"             {line}" for line in _end_of(check.output, _SHOWN_LINES))
        for fault in result.faults:
            yield f"           the ledger does not verify: {escape_line(fault, width=_LONGEST)}"
        if result.departure:
            yield from (f"           {line}" for line in result.departure.splitlines())
    yield from rate_lines(rates_of(results))
    yield _sum(results)


def as_plain(results: Sequence[TaskResult]) -> dict[str, Plain]:
    """Return results as plain values for JSON."""
    return {
        "version": 1,
        "exit_code": code_of_all(results),
        **_counts(results),
        "rates": [rate_as_plain(rate) for rate in rates_of(results)],
        "tasks": [task_as_plain(result) for result in results],
    }


def task_as_plain(result: TaskResult) -> dict[str, Plain]:
    """Return one result as plain values for JSON."""
    return {
        "name": result.name,
        "task": result.task,
        "variant": result.variant,
        "seed": result.seed,
        "attempts": result.attempts,
        "file": result.origin,
        "verdict": result.verdict,
        "exit_code": result.code,
        "policy": result.policy,
        "grant": result.grant,
        "model": result.model,
        "session": result.session,
        "status": result.status,
        "reason": result.reason,
        "departure": result.departure,
        "turns": result.turns,
        "actions": result.actions,
        "denials": result.denials,
        "tokens": result.tokens,
        "cost_micros": result.cost_micros,
        "changes": result.changes,
        "seconds": round(result.seconds, 3),
        "verifies": not result.faults,
        "faults": list(result.faults),
        "checks": [_check_as_plain(check) for check in result.checks],
    }


def junit_xml(results: Sequence[TaskResult]) -> str:
    """Return results as JUnit XML: a suite for each task; its session, checks and ledger are cases."""
    return junit.junit_xml("pairlock ci", [_suite(result) for result in results])


def markdown(results: Sequence[TaskResult], *, largest_bytes: int = LARGEST_BYTES) -> str:
    """Return a summary for a CI's page; where it would be too long, what is left out is said.

    Args:
        results: The results.
        largest_bytes: How long it may be.
    """
    parts = [f"## pairlock ci: {_sum(results)}\n\n", "| task | verdict | session | what | seconds |\n"]
    parts.append("| --- | --- | --- | --- | --- |\n")
    used, left_out = sum(len(part.encode()) for part in parts), 0
    for part in (
        *map(_row, results),
        *rates_markdown(rates_of(results)),
        *(text for result in results if result.code for text in _details(result)),
    ):
        if used + len(part.encode()) > largest_bytes - 200:
            left_out += 1
            continue
        used += len(part.encode())
        parts.append(part)
    if left_out:
        parts.append(f"\n{counted(left_out, 'part')} left out: the whole is in results.json.\n")
    return "".join(parts)


def _short(result: TaskResult) -> str:
    """Return the session and what counts of it, in columns: with the rest of its line at most 80."""
    if not result.session:
        return escape_line(result.reason, width=_LONGEST) if result.is_skipped else ""
    held = sum(check.verdict == "passed" for check in result.checks)
    checks = f"{held}/{counted(len(result.checks), 'check')}"
    return f"{result.session:<12}  {checks}, {result.denials} denied"


def _what(result: TaskResult) -> str:
    if not result.session:
        return escape_line(result.reason, width=_LONGEST)
    held = sum(check.verdict == "passed" for check in result.checks)
    numbers = (
        f"{held} of {counted(len(result.checks), 'check')}, {counted(result.turns, 'turn')}, "
        f"{counted(result.denials, 'denial')}, {counted(result.changes, 'change')}"
    )
    ended = "" if result.status == "done" and not result.code else f"; {result.status}: {result.reason}"
    return escape_line(f"{numbers}{ended}", width=_LONGEST)


def _counts(results: Sequence[TaskResult]) -> dict[str, Plain]:
    verdicts = [result.verdict for result in results]
    return {word: verdicts.count(word) for word in ("passed", "failed", "skipped")}


def _sum(results: Sequence[TaskResult]) -> str:
    return ", ".join(f"{count} {word}" for word, count in _counts(results).items())


def _check_as_plain(check: CheckResult) -> dict[str, Plain]:
    return {
        "name": check.name,
        "verdict": check.verdict,
        "exit_code": check.code,
        "why": check.why,
        "output": check.output,
        "session": check.session,
        "seconds": round(check.seconds, 3),
    }


def _suite(result: TaskResult) -> Suite:
    agent = Case(
        name="the agent's session",
        failure=f"{result.status or 'no session'}: {result.reason}" if result.agent_code else "",
        skipped=result.reason if result.is_skipped else "",
    )
    checks = [
        Case(
            name=check.name,
            failure=check.why if check.verdict == "failed" else "",
            skipped=check.why if check.is_skipped else "",
            output=check.output if check.verdict == "failed" else "",
            seconds=check.seconds,
        )
        for check in result.checks
    ]
    ledger = Case(name="the ledger verifies", failure="; ".join(result.faults)) if result.session else None
    cases = [agent, *checks, *([ledger] if ledger else [])]
    return Suite(name=result.name, cases=cases, seconds=result.seconds)


def _row(result: TaskResult) -> str:
    verdict = result.verdict if result.verdict != "failed" else f"**failed** ({result.code})"
    cells = (inert(result.name), verdict, result.session, inert(_what(result)), f"{result.seconds:.1f}")
    return f"| {' | '.join(cells)} |\n"


def _details(result: TaskResult) -> Iterator[str]:
    yield f"\n### {inert(result.name)}\n\n"
    for fault in result.faults:
        yield f"- the ledger does not verify: {inert(fault[:_LONGEST])}\n"
    if result.departure:
        yield _as_it_is(line[:_LONGEST] for line in result.departure.splitlines())
    for check in result.checks:
        if check.code:
            yield f"- {inert(check.name[:_LONGEST])}: {inert(check.why[:_LONGEST])}\n"
            if lines := [*_end_of(check.output, _PAGE_LINES)]:
                yield _as_it_is(lines)


def _as_it_is(lines: Iterable[str]) -> str:
    """Return lines as one part of a page, so that no half of it is left out; inert text ends no `pre`."""
    return "\n<pre>\n" + "".join(f"{inert(line)}\n" for line in lines) + "</pre>\n\n"


def _end_of(output: str, most: int) -> Iterator[str]:
    """Yield the last lines of what a command wrote, escaped, each cut where it is long."""
    for line in output.strip("\n").splitlines()[-most:]:
        yield escape_line(line, width=_LONGEST)
