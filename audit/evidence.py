"""What verifications of a state folder rest on: the host's log, who signed it, an anchor from elsewhere."""

from dataclasses import dataclass
from pathlib import Path

from audit.errors import AuditError
from audit.index import HostIndex, read_index
from audit.keys import given_vkey, pinned
from audit.note import Checkpoint, VerifierKey, open_checkpoint, unverified_checkpoint
from audit.state import StateFiles, check_format
from audit.verdict import (
    Anchored,
    Authenticity,
    Forged,
    Freshness,
    Pinned,
    RolledBack,
    SelfClaimed,
    Unanchored,
    Unsigned,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What every verification of one state folder rests on.

    Attributes:
        state: The state's files.
        index: The host's log, read.
        authenticity: Who signed the host's log.
        freshness: Whether an anchor fits the host's log.
        anchor: The anchor, where one was given and is what it claims to be.
    """

    state: StateFiles
    index: HostIndex
    authenticity: Authenticity
    freshness: Freshness
    anchor: Checkpoint | None


def gather(state: Path, *, pinned_vkey: str | None = None, against: str | None = None) -> Evidence:
    """Read the host's log once, for any number of sessions.

    Args:
        state: The state folder.
        pinned_vkey: The host's public key as it came from elsewhere; None takes the one pinned in the state
            folder, if there is one.
        against: A checkpoint that was kept elsewhere, as a signed note.

    Raises:
        BadKeyError: When the key is none.
        MalformedLineError: When the checkpoint is none.
    """
    files = StateFiles(state)
    check_format(files)
    key = given_vkey(pinned_vkey) if pinned_vkey is not None else pinned(files)
    anchor = unverified_checkpoint(against) if against is not None else None
    index = read_index(files, anchor_size=anchor.size if anchor else None)
    return Evidence(
        state=files,
        index=index,
        authenticity=_authenticity(index, key),
        freshness=_freshness(index, against, anchor, key),
        anchor=anchor,
    )


def _authenticity(index: HostIndex, key: VerifierKey | None) -> Authenticity:
    if index.broken is not None:
        return Forged(f"the host's log does not hold: {index.broken}")
    if not index.keys:
        return Unsigned("there is no host's log") if key is None else Forged("there is no host's log")
    if key is None:
        return SelfClaimed(index.keys[-1].name)
    if key in index.keys:
        return Pinned(key.name)
    signer = index.keys[-1].name
    other = "key of that name" if key.name == signer else f"`{key.name}`"
    return Forged(f"the host's log is signed by `{signer}`, not by the pinned {other}")


def _freshness(
    index: HostIndex, note: str | None, anchor: Checkpoint | None, key: VerifierKey | None
) -> Freshness:
    if anchor is None or note is None:
        return Unanchored()
    if not _signed_by_any(note, [*index.keys, *([key] if key else [])]):
        return RolledBack("the checkpoint is signed by a key that this log does not know")
    if anchor.origin != index.origin:
        return RolledBack(f"the checkpoint is of `{anchor.origin}`")
    if anchor.size > index.size:
        return RolledBack(f"the checkpoint covers {anchor.size} entries, the host's log holds {index.size}")
    if anchor.root != index.anchor_root:
        return RolledBack(f"the first {anchor.size} entries of the host's log are not what they were")
    return Anchored(anchor.size, anchor.size)


def _signed_by_any(note: str, keys: list[VerifierKey]) -> bool:
    for key in keys:
        try:
            open_checkpoint(note, key)
        except AuditError:
            continue
        return True
    return False
