"""Check what a task declares without running anything: files, changes, denials, egress.

Nothing that the agent wrote is parsed: bytes are looked for in bytes, and sizes are counted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.ci.outcome import FAILED, CheckResult
from agent_runner.ci.steering import steering
from agent_runner.counted import counted
from sandbox.stage.beneath import Beneath
from sandbox.stage.errors import PathRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent_runner.ci.task import ChangeLimits, Checks, FileCheck
    from policies.globs import Glob
    from sandbox.stage import ChangeSet, Diff

_CHUNK_BYTES: Final = 1024 * 1024
MOST_NAMED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What an agent's session left, as far as it is checked."""

    tree: Path | None
    """The folder that its changes lead to, or its kept outputs; None where there is neither."""
    changes: ChangeSet | None
    """Everything that it changed; None where nothing is staged."""
    patch: Diff | None
    """The same as a patch."""
    denials: int
    crossings: int
    """Connections and requests that the egress gate was asked for, and calls of connectors."""


def declared_checks(checks: Checks, found: Found) -> Iterator[CheckResult]:
    """Yield what came of every declared check."""
    for file in checks.files:
        name = f"files: {file.path}" + (f" contains {file.contains}" if file.contains else "")
        yield _result(name, _of_file(file, found.tree))
    for glob in checks.unchanged:
        yield _result(f"unchanged: {glob.text}", _of_unchanged(glob, found.changes))
    if checks.commands:
        yield _result("steering", _of_steering(checks, found.changes))
    if checks.changes is not None:
        yield _result("changes", _of_changes(checks.changes, found))
    if checks.max_denials is not None:
        above = found.denials > checks.max_denials
        why = f"{counted(found.denials, 'action')} denied; at most {int(checks.max_denials)} may be"
        yield _result("max_denials", why if above else "")
    if checks.no_egress:
        why = f"the egress gate was asked {counted(found.crossings, 'time')}"
        yield _result("no_egress", why if found.crossings else "")


def _result(name: str, why: str) -> CheckResult:
    return CheckResult(name=name, code=FAILED if why else 0, why=why)


def _of_file(file: FileCheck, tree: Path | None) -> str:
    if tree is None:
        return "no file was kept"
    try:
        with Beneath.open(tree) as beneath, beneath.file(file.path) as descriptor:
            if file.contains is None or _holds(descriptor, file.contains.encode()):
                return ""
    except PathRefusedError as error:
        return error.reason
    return "the text is not in it"


def _holds(descriptor: int, wanted: bytes) -> bool:
    before = b""
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        if wanted in before + chunk:
            return True
        before = (before + chunk)[-len(wanted) :]
    return False


def _of_unchanged(glob: Glob, changes: ChangeSet | None) -> str:
    if changes is None:
        return "nothing is known of its changes"
    touched = [change.path for change in changes.changes if glob.matches(change.path)]
    return _named("changed", touched) or _named("not readable", [each.path for each in changes.troubles])


def _of_steering(checks: Checks, changes: ChangeSet | None) -> str:
    if changes is None:
        return "nothing is known of its changes"
    found = _named("changed what decides what commands do", [*steering(checks, changes)])
    return f"{found}; `may_steer` lets it" if found else ""


def _of_changes(limits: ChangeLimits, found: Found) -> str:
    if found.changes is None or found.patch is None:
        return "nothing is known of its changes"
    count, size = len(found.changes.changes), len(found.patch.text)
    if count > limits.files:
        return f"{counted(count, 'path')} changed; at most {int(limits.files)} may"
    if size > limits.patch:
        return f"the patch has {counted(size, 'byte')}; at most {limits.patch.text} may be"
    left_out = (*found.changes.troubles, *found.patch.left_out)
    return _named("not in the patch", [each.path for each in left_out])


def _named(what: str, paths: list[str]) -> str:
    if not paths:
        return ""
    more = f" and {len(paths) - MOST_NAMED} more" if len(paths) > MOST_NAMED else ""
    named = ", ".join(paths[:MOST_NAMED]).encode("utf-8", "backslashreplace").decode()
    return f"{what}: {named}{more}"
