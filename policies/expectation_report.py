"""Write down what came of expectations, for people, for programs and for a CI's test view. Pure: text out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies import junit
from policies.junit import Case, Suite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from policies.canonical import Plain
    from policies.errors import RuleAt
    from policies.expectations import ExpectationRun, Outcome


@dataclass(frozen=True, slots=True)
class FileRun:
    """What came of one file.

    Attributes:
        file: The file, or the name in the library, as a person gave it.
        run: Its expectations; None when it is no valid policy.
        error: Why it is none; empty when it is one.
    """

    file: str
    run: ExpectationRun | None
    error: str = ""


def report_lines(result: FileRun) -> Iterator[str]:
    """Write one file's result for a terminal.

    Args:
        result: The result.

    Yields:
        A line for each expectation that is not met, a sum, and a line for each rule that none touched.
    """
    if result.run is None:
        yield from result.error.splitlines()
        return
    for outcome in result.run.failures:
        yield f"{outcome.at or result.file}: `{outcome.line}`: {_said(outcome)}"
    met, all_of_them = len(result.run.outcomes) - len(result.run.failures), len(result.run.outcomes)
    touched = result.run.rules - len(result.run.untouched)
    yield f"{result.file}: {met} of {all_of_them} met, {touched} of {result.run.rules} rules touched"
    for rule in result.run.untouched:
        yield f"  {rule.at}: no expectation touches {rule.what}"


def _said(outcome: Outcome) -> str:
    wanted = outcome.expected + (f" because of {outcome.because}" if outcome.because else "")
    actual = outcome.actual or "nothing"
    codes = f" because of {', '.join(dict.fromkeys(outcome.codes))}" if outcome.codes else ""
    why = f": {outcome.message}" if outcome.message else ""
    return f"expected {wanted}, decided {actual}{codes}{why}"


def as_plain(results: Sequence[FileRun]) -> Plain:
    """Write results as plain values for JSON.

    Args:
        results: One for each file.

    Returns:
        Files with their outcomes and coverage.
    """
    return {
        "met": all(result.run is not None and not result.run.failures for result in results),
        "files": [_plain(result) for result in results],
    }


def _plain(result: FileRun) -> Plain:
    if result.run is None:
        return {"file": result.file, "error": result.error}
    return {
        "file": result.file,
        "policy": result.run.policy,
        "expectations": [_outcome(outcome) for outcome in result.run.outcomes],
        "rules": result.run.rules,
        "untouched": [{"at": _at(rule.at), "rule": rule.what} for rule in result.run.untouched],
    }


def _outcome(outcome: Outcome) -> Plain:
    return {
        "action": outcome.line,
        "expected": outcome.expected,
        "because": outcome.because,
        "decided": outcome.actual,
        "codes": list(outcome.codes),
        "message": outcome.message,
        "met": outcome.is_met,
        "at": _at(outcome.at),
    }


def _at(at: RuleAt | None) -> Plain:
    return None if at is None else {"file": at.origin, "line": at.line, "column": at.column}


def junit_xml(results: Sequence[FileRun]) -> str:
    """Write results as JUnit XML: a suite for each file, a case for each expectation.

    Args:
        results: One for each file.

    Returns:
        XML.
    """
    return junit.junit_xml("pairlock policy test", [_suite(result) for result in results])


def _suite(result: FileRun) -> Suite:
    if result.run is None:
        return Suite(name=result.file, cases=[Case(name="is a valid policy", error=result.error)])
    cases = [
        Case(
            name=f"{outcome.expected}: {outcome.line}",
            failure="" if outcome.is_met else _said(outcome),
            at=outcome.at,
        )
        for outcome in result.run.outcomes
    ]
    output = [f"{rule.at}: no expectation touches {rule.what}" for rule in result.run.untouched]
    return Suite(name=result.file, cases=cases, output=output)
