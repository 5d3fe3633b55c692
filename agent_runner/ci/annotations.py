"""Write lines into a CI's log: GitHub's annotations of findings, and texts that no runner takes for commands.

GitHub's runner takes a line for a command that begins with `::`, and one that holds `##[` anywhere; Azure
Pipelines takes `##vso[`. So what an agent wrote never begins a line, and never holds two hashes in a row.
Source: GitHub, Workflow commands for GitHub Actions; ActionCommand.cs of actions/runner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from audit.escape import escape_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent_runner.ci.findings import Finding, Level
    from agent_runner.ci.source_tree import SourceTree

MOST_SHOWN: Final = 10
"""Of each level: GitHub shows no more of one step."""
_LONGEST: Final = 1000
_COMMANDS: Final[dict[Level, str]] = {"error": "error", "warning": "warning", "note": "notice"}
_DATA: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY: Final = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def log_line(text: str, *, width: int | None = None) -> str:
    """Return text as one line of a CI's log that no runner takes for a command.

    Args:
        text: What an agent, a file or a server wrote.
        width: The largest number of characters to show, as in `escape_line`.
    """
    return plain_line(escape_line(text, width=width))


def plain_line(line: str) -> str:
    r"""Return a line that is escaped already without two hashes in a row, and without `::` at its beginning.

    The second hash is written `\x23`, the first colon `\x3a`. Runners look behind spaces at the beginning.
    """
    line = line.replace("##", "#\\x23")
    text = line.lstrip()
    return line.removesuffix(text) + "\\x3a" + text[1:] if text.startswith("::") else line


def wanted(environment: Mapping[str, str]) -> bool:
    """Return whether this is a step of GitHub's, which reads annotations."""
    return environment.get("GITHUB_ACTIONS") == "true"


def annotation_lines(findings: Sequence[Finding], *, tree: SourceTree) -> Iterator[str]:
    """Yield a workflow command for each finding, as many as are shown, and say how many are not.

    Args:
        findings: What was found, the weightiest first.
        tree: The folder that was checked out; files elsewhere are not named.
    """
    for level, command in _COMMANDS.items():
        these = [finding for finding in findings if finding.level == level]
        for finding in these[:MOST_SHOWN]:
            yield _annotation(command, finding, tree)
    if more := sum(max(0, _count(findings, level) - MOST_SHOWN) for level in _COMMANDS):
        yield f"all findings are in results.sarif: {more} more"


def _count(findings: Sequence[Finding], level: Level) -> int:
    return sum(finding.level == level for finding in findings)


def _annotation(command: str, finding: Finding, tree: SourceTree) -> str:
    properties = {"title": f"{finding.task}: {finding.name}"}
    if inside := tree.below(finding.file):
        properties = {"file": str(inside), "line": "1", **properties}
    told = ",".join(f"{key}={log_line(value).translate(_PROPERTY)}" for key, value in properties.items())
    return f"::{command} {told}::{log_line(finding.message, width=_LONGEST).translate(_DATA)}"
