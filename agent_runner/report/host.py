"""Find what the host's log says of a session: labels, what was applied or thrown away, what was withheld."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.report.happenings import label_text
from audit import event, host_event
from audit.chain import Chain, read
from audit.errors import AuditError
from audit.schema import event_of
from audit.segments import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit.chain import Entry
    from audit.index import HostIndex
    from audit.state import StateFiles

_TELLING = (
    b'"type":"label.changed"',
    b'"type":"stage.applied"',
    b'"type":"stage.discarded"',
    b'"type":"opening.withheld"',
    b'"type":"session.pruned"',
    b'"type":"session.registered"',
    b'"type":"session.reopened"',
    b'"type":"review.recorded"',
)


def host_facts(files: StateFiles, index: HostIndex, session: str, workspace: str | None) -> list[list[str]]:
    """Return what the host's log says of a session or of the label of its workspace, oldest first.

    Args:
        files: The state's files.
        index: The host's log, read and verified.
        session: The session's id.
        workspace: Its folder on the host; None where it had none.

    Returns:
        Rows of: number of the entry, time, what, and in which words.
    """
    if index.broken is not None:
        return [["", "", "broken", f"the host's log does not hold: {index.broken}"]]
    found = []
    try:
        for entry in _entries(files, index):
            told = _told(entry, session, workspace)
            if told is not None:
                found.append([str(entry.seq), entry.at[:19], entry.type, told])
    except (AuditError, OSError) as error:
        found.append(["", "", "unreadable", str(error)])
    return found


def _entries(files: StateFiles, index: HostIndex) -> Iterator[Entry]:
    """Yield the entries that could concern a session; each line is held against the chain all the same."""
    chain = Chain.start(index.origin)
    for line in Lines([files.log]):
        if chain.size >= index.size:
            return
        leaf = chain.take(line)
        if any(kind in line for kind in _TELLING):
            yield read(line, leaf)


def _told(entry: Entry, session: str, workspace: str | None) -> str | None:  # noqa: PLR0911 - one for each kind
    match event_of(entry):
        case event.LabelChanged() as label if session in label.sessions or label.workspace == workspace:
            change = f"{label_text(label.before)} -> {label_text(label.after)}"
            return (
                f"{label.workspace}: {change}; {label.why} (sessions {', '.join(label.sessions) or 'none'})"
            )
        case event.StageApplied() as applied if applied.session == session:
            refused = f", {len(applied.refused)} refused" if applied.refused else ""
            done = f"committed to branch {applied.branch} of" if applied.branch else "written to"
            return f"{len(applied.applied)} {done} {applied.workspace}{refused}, by {applied.by}"
        case event.StageDiscarded() as discarded if discarded.session == session:
            return f"{discarded.why}, by {discarded.by}"
        case host_event.OpeningWithheld() as withheld if withheld.session == session:
            return f"{withheld.commitment[:16]}: {withheld.why}, by {withheld.by}"
        case host_event.SegmentPruned() as pruned if pruned.session == session:
            return f"the first {pruned.size} entries: {pruned.why}"
        case host_event.SessionRegistered() as known if known.session == session:
            return f"with grant {known.grant}, key {known.vkey}"
        case host_event.SessionReopened() as again if again.session == session:
            return f"at {again.size} entries, key {again.vkey}"
        case host_event.ReviewRecorded() as review if session in review.sessions:
            return f"{review.workspace}, by {review.by}"
    return None
