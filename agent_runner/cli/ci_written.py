"""Write what came of a run of tasks: into its folder, where the caller wants copies, and into a CI's log."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from agent_runner.ci.annotations import annotation_lines, plain_line, wanted
from agent_runner.ci.outcome import code_of_all
from agent_runner.ci.sarif import sarif
from agent_runner.ci.source_tree import source_tree
from agent_runner.ci.summary import as_plain, junit_xml, markdown, result_lines
from agent_runner.cli.ci_copies import require_writable, write_copy
from agent_runner.cli.exits import Exit, leave
from agent_runner.cli.folding import tell
from agent_runner.cli.talk import say, silence
from agent_runner.errors import RunnerError
from agent_runner.package import pairlock_version
from audit.errors import AuditError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent_runner.ci.findings import Finding
    from agent_runner.ci.keeping import Kept
    from agent_runner.ci.outcome import TaskResult
    from policies.canonical import Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Where second copies are written; None for none."""

    junit: Path | None
    sarif: Path | None
    summary: Path | None

    def require_usable(self) -> None:
        """Refuse a file that could not be written once everything has run.

        Raises:
            InvalidInputError: As `require_writable` does.
        """
        for path in filter(None, (self.junit, self.sarif, self.summary)):
            require_writable(path)


def write_results(
    results: Sequence[TaskResult], findings: Sequence[Finding], kept: Kept, copies: Copies
) -> int:
    """Write every form of what came of tasks; a full disk keeps nobody from reading it on the screen.

    Args:
        results: What came of them.
        findings: What was found in them.
        kept: The run's folder.
        copies: Where else.

    Returns:
        0, or the exit code that stands for what could not be written, which is told.
    """
    try:
        _write(results, findings, kept, copies)
    except (AuditError, RunnerError, OSError) as error:
        return leave(error)
    return Exit.DONE


def _write(results: Sequence[TaskResult], findings: Sequence[Finding], kept: Kept, copies: Copies) -> None:
    alerts = sarif(findings, version=pairlock_version(), tree=source_tree(os.environ))
    for name, text, also in (
        ("results.json", _json(as_plain(results)), None),
        ("results.sarif", _json(alerts), copies.sarif),
        ("junit.xml", junit_xml(results), copies.junit),
        ("summary.md", markdown(results), copies.summary),
    ):
        kept.write(name, text)
        if also is not None:
            write_copy(also, text)


def print_results(results: Sequence[TaskResult], kept: Kept, *, as_json: bool) -> int:
    """Print what came of tasks, and return what the run ends with; what cannot be printed is said to be kept.

    Args:
        results: What came of them.
        kept: The run's folder, which holds the same.
        as_json: Whether it is asked for as JSON.
    """
    code = code_of_all(results)
    try:
        _print(results, as_json=as_json)
        sys.stdout.flush()
    except OSError as error:  # nobody reads it any more, a full disk
        silence(sys.stdout)
        what = str(error.strerror).lower()
        say(f"pairlock: what came of the tasks cannot be printed: {what}; it is in {kept.folder}")
        return code or Exit.FAILED
    return code


def _print(results: Sequence[TaskResult], *, as_json: bool) -> None:
    """Print lines for a person, or JSON; no runner takes any of it for a command."""
    if as_json:  # two hashes stand in texts alone, where JSON may spell the second
        typer.echo(_json(as_plain(results)).replace("##", "#\\u0023"), nl=False)
        return
    for line in result_lines(results):
        tell(plain_line(line), indent=11)


def print_annotations(findings: Sequence[Finding], *, asked: bool) -> None:
    """Print annotations on stderr where they are asked for, or GitHub's runner reads them.

    Args:
        findings: What was found.
        asked: Whether a person asked.
    """
    if asked or wanted(os.environ):
        for line in annotation_lines(findings, tree=source_tree(os.environ)):
            say(line)


def _json(value: dict[str, Plain]) -> str:
    return json.dumps(value, indent=2) + "\n"
