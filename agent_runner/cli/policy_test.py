"""Run policies' own expectations: `pairlock policy test`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.exits import Exit
from agent_runner.cli.policy_talk import Json, commands, print_json
from agent_runner.cli.talk import say
from audit.escape import escape_line

if TYPE_CHECKING:
    from policies.expectation_report import FileRun


def run_tests(
    policies: Annotated[
        list[str],
        typer.Argument(metavar="POLICY", help="Files, folders of them, or names of the library."),
    ],
    as_json: Json = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Also write JUnit XML there.")
    ] = None,
) -> None:
    """Run policies' own expectations, and name the rules that none of them touches."""
    from agent_runner.policy_file import policies_meant
    from policies.expectation_report import as_plain, report_lines

    results = [_run(reference) for reference in policies_meant(policies)]
    if as_json:
        print_json(as_plain(results))
    else:
        for result in results:
            for line in report_lines(result):
                typer.echo(escape_line(line))
    if junit is not None:
        _write_junit(junit, results)
    if any(result.run is None for result in results):
        say("a file that is no valid policy has no expectations")
        raise typer.Exit(Exit.USAGE)
    if any(result.run.failures for result in results if result.run):
        raise typer.Exit(Exit.FAILED)


def _write_junit(target: Path, results: list[FileRun]) -> None:
    from agent_runner.errors import InvalidInputError
    from policies.expectation_report import junit_xml

    try:
        target.write_text(junit_xml(results), encoding="utf-8")
    except OSError as error:
        why = (error.strerror or "unknown error").lower()
        raise InvalidInputError(
            f"`{target}` cannot be written: {why}", hint="`--junit` names a file in a folder that exists"
        ) from error


def _run(reference: str) -> FileRun:
    from agent_runner.errors import InvalidInputError
    from agent_runner.policy_file import parse_named
    from policies.errors import PolicyError
    from policies.expectation_report import FileRun
    from policies.expectations import run_expectations

    try:
        policy = parse_named(reference)
    except InvalidInputError as error:
        return FileRun(reference, None, " ".join(str(error).splitlines()))  # a name may hold line breaks
    except PolicyError as error:
        return FileRun(reference, None, str(error))
    return FileRun(reference, run_expectations(policy, commands()))
