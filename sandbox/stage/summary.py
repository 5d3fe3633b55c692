"""Tell what changed in few words: a stat, names only, or JSON; safe to print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from audit.escape import escape
from sandbox.stage.changes import ChangeKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sandbox.stage.changes import Change, ChangeSet
    from sandbox.stage.sides import Side

LETTERS: Final = {
    ChangeKind.ADDED: "A",
    ChangeKind.MODIFIED: "M",
    ChangeKind.MODE: "M",
    ChangeKind.TYPE: "T",
    ChangeKind.DELETED: "D",
}
"""The letters of `git diff --name-status`."""

MAX_NAMED: Final = 5
"""How many paths the headline names before it says how many more there are."""


def terminal_safe(text: str) -> str:
    """Escape control, bidirectional, invisible and undecodable characters; newline and tab too."""
    return escape(text, keep="\\")


def diff_for_terminal(patch: bytes) -> str:
    """Return a patch with everything escaped that a terminal would obey; newlines and tabs stay."""
    text = patch.decode("utf-8", "surrogateescape")
    return "\n".join("\t".join(map(terminal_safe, line.split("\t"))) for line in text.split("\n"))


def headline(changes: ChangeSet) -> str:
    """Return the line that comes first: how many changes run on the user's machine later, and which."""
    later = changes.runs_later
    if not later:
        return ""
    names = ", ".join(terminal_safe(change.path) for change in later[:MAX_NAMED])
    more = f" and {len(later) - MAX_NAMED} more" if len(later) > MAX_NAMED else ""
    verb = "change runs" if len(later) == 1 else "changes run"
    return f"{len(later)} {verb} on your machine later: {names}{more}"


def hidden_line(absent: Sequence[str]) -> str:
    """Return how many paths the agent does not see, and which, for the start; empty when it sees all."""
    if not absent:
        return ""
    names = ", ".join(map(terminal_safe, absent[:MAX_NAMED]))
    more = f" and {len(absent) - MAX_NAMED} more" if len(absent) > MAX_NAMED else ""
    verb = "path is" if len(absent) == 1 else "paths are"
    return f"{len(absent)} {verb} hidden from the agent: {names}{more}"


def stat_lines(changes: ChangeSet) -> Iterator[str]:
    """Yield one line a change: its letter, its name, its sizes, and what to look out for."""
    for change in changes.changes:
        yield f"{LETTERS[change.kind]}  {_described(change)}"
    for trouble in changes.troubles:
        yield f"?  {terminal_safe(trouble.path)}  ({trouble.reason})"


def name_lines(changes: ChangeSet) -> Iterator[str]:
    """Yield the path of each change."""
    return (terminal_safe(change.path) for change in changes.changes)


def to_json(changes: ChangeSet) -> str:
    """Return the whole set as JSON; names that are not UTF-8 appear with escaped lone surrogates."""
    told = {
        "version": 1,
        "runs_later": [change.path for change in changes.runs_later],
        "conflicts": [change.path for change in changes.conflicts],
        "changes": [_as_json(change) for change in changes.changes],
        "unreadable": [{"path": trouble.path, "reason": trouble.reason} for trouble in changes.troubles],
    }
    return json.dumps(told, indent=1)


def _described(change: Change) -> str:
    name = terminal_safe(change.path)
    if change.renamed_from:
        name = f"{terminal_safe(change.renamed_from)} => {name}"
    notes = [_sizes(change), *sorted(concern.value for concern in change.concerns)]
    if change.conflict:
        notes.append(f"conflict: {change.conflict}")
    return f"{name}  ({', '.join(note for note in notes if note)})"


def _sizes(change: Change) -> str:
    before, after = change.before, change.after
    if change.kind is ChangeKind.MODE and before and after:
        return f"mode {before.mode:o} -> {after.mode:o}"
    if change.kind is ChangeKind.TYPE and before and after:
        return f"{before.kind} -> {after.kind}"
    side = after or before
    if side is None or side.kind.value != "file":
        return side.kind.value if side else ""
    return f"{before.size if before else 0} -> {after.size if after else 0} bytes"


def _as_json(change: Change) -> dict[str, object]:
    return {
        "path": change.path,
        "kind": change.kind.value,
        "before": _side(change.before),
        "after": _side(change.after),
        "concerns": sorted(concern.value for concern in change.concerns),
        "runs_later": change.later,
        "conflict": change.conflict,
        "renamed_from": change.renamed_from,
        "renamed_to": change.renamed_to,
    }


def _side(side: Side | None) -> dict[str, object] | None:
    if side is None:
        return None
    return {
        "kind": side.kind.value,
        "mode": f"{side.mode:04o}",
        "bytes": side.size,
        "sha256": side.digest,
        "target": side.target,
    }
