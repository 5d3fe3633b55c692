"""Recompute workspaces' labels from the host's log, and find one that is not what the log says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent_runner.label_log import label_changes
from agent_runner.label_witness import surely_exercised
from agent_runner.lineage import labels_of
from audit.errors import AuditError
from audit.index import read_index
from audit.lock import held_still
from audit.state import StateFiles
from policies.capability import Capability, in_order
from policies.errors import PolicyError
from sandbox.stage.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from audit.event import LabelChanged
    from policies.lineage import Label

_ALL: Final = frozenset(capability.value for capability in Capability)
Held = dict[str, frozenset[str]]
"""What a label holds: session -> the capabilities that it exercised."""


@dataclass(frozen=True, slots=True)
class LabelProof:
    """What came of comparing every label with the host's log."""

    labels: int
    """How many labels there are, or have been."""
    faults: tuple[str, ...] = ()
    """One line for each label that somebody else changed; lower case, not escaped."""
    notes: tuple[str, ...] = ()
    """One line for each that holds more than it has to, as a runner leaves it that was killed."""


def prove_labels(state: Path) -> LabelProof:
    """Compare every label with what the host's log says of it.

    The log itself is verified by `audit.verify`. A label that holds more than the log says, of sessions that
    the log knows, lets nothing through: it is noted, and no fault.
    """
    files = StateFiles(state)
    try:
        with held_still(labels_of(state).lock):  # a change that is half made is no fault
            said = told(files)
            found = {identity.key: _held(label) for identity, label in labels_of(state).all()}
        sessions = _registered(files)
    except (AuditError, LabelError, PolicyError, ValueError) as error:
        return LabelProof(labels=0, faults=(str(error),))
    keys = sorted({*found, *said.labels})
    faults = [_unread(seq) for seq in said.unread]
    notes: list[str] = []
    for key in keys:
        wanted, there = said.labels.get(key, {}), found.get(key, {})
        wrong = [*_missing(key, wanted, there, joint=key in said.joint)]
        for session, extra in _more(wanted, there):
            known = session in sessions and extra != _ALL  # it carries what others exercised, too
            words = f"label `{key}` holds more of session `{session}` than the host's log says"
            (notes if known else wrong).append(words)
        faults += wrong[:1] if said.unread else wrong  # what cannot be read may explain the rest of them
    faults += [] if said.unread else _never_labelled(files, said)
    return LabelProof(labels=len(keys), faults=tuple(faults), notes=tuple(notes))


@dataclass(slots=True)
class Told:
    """What the host's log says of labels."""

    labels: dict[str, Held] = field(default_factory=dict)
    """What each has to hold, by the folder's identity."""
    paths: dict[str, str] = field(default_factory=dict)
    """Where each labelled folder was when that was written."""
    joint: set[str] = field(default_factory=set)
    """Those of which it says what the sessions exercised together, and not which of them did."""
    ever: dict[str, frozenset[str]] = field(default_factory=dict)
    """What each session was ever said to have exercised."""
    unread: list[int] = field(default_factory=list)
    """Entries that changed a label, and whose bodies are gone."""


def _unread(seq: int) -> str:
    return f"entry {seq} of the host's log changed a label, and what it said is gone"


def _never_labelled(files: StateFiles, told: Told) -> Iterator[str]:
    """Yield what sessions exercised that write in their workspace at once, and no entry ever said."""
    index = read_index(files)
    for session, record in index.sessions.items():
        if record.registered is None or record.registered.workspace is None:
            continue
        try:
            exercised = surely_exercised(files.folder, session, index)
        except AuditError:
            continue  # that its ledger is gone or broken is the session's own verdict
        if gone := frozenset(in_order(exercised)) - told.ever.get(session, frozenset()):
            what = ", ".join(sorted(gone))
            where = "in a workspace that it wrote in at once"
            yield f"session `{session}` exercised {what} {where}, and no label ever said so"


def _missing(key: str, wanted: Held, there: Held, *, joint: bool) -> Iterator[str]:
    if joint:
        gone = frozenset().union(*wanted.values()) - frozenset().union(*there.values())
        if gone:
            yield f"label `{key}` lacks {', '.join(sorted(gone))}, which nobody reviewed"
        return
    for session, exercised in wanted.items():
        if gone := exercised - there.get(session, frozenset()):
            what = ", ".join(sorted(gone))
            yield f"label `{key}` lacks {what} of session `{session}`, which nobody reviewed"


def _more(wanted: Held, there: Held) -> Iterator[tuple[str, frozenset[str]]]:
    for session, exercised in there.items():
        if extra := exercised - wanted.get(session, frozenset()):
            yield session, extra


def told(files: StateFiles) -> Told:
    """Fold the host's log."""
    found = Told()
    for seq, changed in label_changes(files):
        if changed is None:
            found.unread.append(seq)
        else:
            _take(found, changed)
    return found


def _take(told: Told, changed: LabelChanged) -> None:
    for other in changed.merged:
        told.labels.pop(other, None)
    told.labels[changed.identity] = _of(changed)
    told.paths[changed.identity] = changed.workspace
    for session, exercised in _of(changed).items():
        told.ever[session] = told.ever.get(session, frozenset()) | exercised
    told.joint.discard(changed.identity)
    if not changed.contributions:
        told.joint.add(changed.identity)


def _of(changed: LabelChanged) -> Held:
    """Return what one change left; an entry without contributions says of each session the whole label."""
    if not changed.after:
        return {}
    if changed.contributions:
        parts = (part.partition(" ") for part in changed.contributions)
        return {session: frozenset(filter(None, held.split("+"))) for session, _, held in parts}
    return dict.fromkeys(changed.sessions, frozenset(changed.after))


def _held(label: Label) -> Held:
    return {part.session: frozenset(c.value for c in part.exercised) for part in label.contributions}


def _registered(files: StateFiles) -> AbstractSet[str]:
    """Return the sessions that the host's log knows."""
    records = read_index(files).sessions.items()
    return {session for session, record in records if record.registered is not None}
