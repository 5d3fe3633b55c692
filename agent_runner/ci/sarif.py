"""Write findings as SARIF 2.1.0, for a code host's list of alerts. Pure: values out, texts escaped.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) 2.1.0; the tests hold it to its schema.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from agent_runner.ci.findings import MOST_FINDINGS
from agent_runner.counted import counted
from audit.escape import escape_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.ci.findings import Finding, Kind
    from agent_runner.ci.source_tree import SourceTree
    from policies.canonical import Plain

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LONGEST: Final = 1000
"""Characters of a message; all of it is in the ledger."""
_SAID: Final[dict[Kind, str]] = {
    "session": "an agent's session ended without having done its task",
    "check": "a check of a task does not hold",
    "ledger": "a ledger does not verify",
    "denied": "an action of an agent's was denied",
    "egress": "a connection or request was refused at the egress gate",
    "refused": "an agent changed what cannot be applied as it stands",
    "later": "an agent changed a file that may run on a person's machine later",
}


def sarif(findings: Sequence[Finding], *, version: str, tree: SourceTree) -> dict[str, Plain]:
    """Return findings as a SARIF log of one run.

    Args:
        findings: What was found, the weightiest first; what is left out at the end is said.
        version: The version of pairlock.
        tree: The folder that was checked out; files below it are named relative to it.
    """
    shown = findings[:MOST_FINDINGS]
    rules = list(dict.fromkeys(finding.name for finding in shown))
    kinds = {finding.name: finding for finding in shown}
    driver: dict[str, Plain] = {
        "name": "pairlock ci",
        "version": version or "0",
        "rules": [_rule(kinds[name]) for name in rules],
    }
    invocation: dict[str, Plain] = {"executionSuccessful": True}
    if left_out := len(findings) - len(shown):
        told = f"{counted(left_out, 'finding')} left out; the ledgers hold all of them"
        invocation["toolExecutionNotifications"] = [{"level": "warning", "message": {"text": told}}]
    run: dict[str, Plain] = {
        "tool": {"driver": driver},
        "automationDetails": {"id": "pairlock-ci/"},
        "columnKind": "unicodeCodePoints",
        "invocations": [invocation],
        "results": [_result(finding, rules.index(finding.name), tree) for finding in shown],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(finding: Finding) -> Plain:
    said = _SAID[finding.kind]
    said = f"{said}: {finding.code}" if finding.code else said
    return {
        "id": escape_line(finding.name),
        "shortDescription": {"text": escape_line(said)},
        "defaultConfiguration": {"level": finding.level},
    }


def _result(finding: Finding, index: int, tree: SourceTree) -> Plain:
    text = escape_line(f"{finding.task}: {finding.message}", width=_LONGEST)
    result: dict[str, Plain] = {
        "ruleId": escape_line(finding.name),
        "ruleIndex": index,
        "level": finding.level,
        "message": {"text": text},
        "locations": [{"physicalLocation": _place(finding.file, 1, 1, tree)}],
        "occurrenceCount": finding.times,
        "partialFingerprints": {
            "primaryLocationLineHash": f"{finding.fingerprint[:16]}:1",
            "pairlock/v1": finding.fingerprint,
        },
        "properties": {"task": escape_line(finding.task), "session": finding.session},
    }
    origin, line, column = _of_rule(finding.rule)
    if line and tree.below(origin):
        place: dict[str, Plain] = {
            "physicalLocation": _place(origin, line, column, tree),
            "message": {"text": "the rule that decided"},
        }
        result["relatedLocations"] = [place]
    return result


def _of_rule(rule: str) -> tuple[str, int, int]:
    origin, _, numbers = rule.rpartition(":")
    origin, _, line = origin.rpartition(":")
    whole = line.isdecimal() and numbers.isdecimal()
    return (origin, int(line), int(numbers)) if whole else ("", 0, 0)


def _place(named: str, line: int, column: int, tree: SourceTree) -> dict[str, Plain]:
    inside = tree.below(named)
    artifact: dict[str, Plain] = (
        {"uri": quote(os.fsencode(inside)), "uriBaseId": "%SRCROOT%"}
        if inside
        else {"uri": tree.absolute(named).as_uri()}
    )
    region: dict[str, Plain] = {"startLine": max(1, line), "startColumn": max(1, column)}
    return {"artifactLocation": artifact, "region": region}
