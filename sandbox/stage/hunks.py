"""Take some hunks of a change and leave others."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from sandbox.stage.diff import MAX_FILE_BYTES, hunk_groups, hunk_text, is_binary, lines_of
from sandbox.stage.errors import PathRefusedError
from sandbox.stage.opened import content_of
from sandbox.stage.sides import EntryKind

if TYPE_CHECKING:
    from collections.abc import Collection

    from sandbox.stage.changes import Change
    from sandbox.stage.opened import OpenStage


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """One part of a change that can be taken alone."""

    number: int
    """Counted from 1, as it is shown."""
    text: bytes
    """As in a unified diff, its `@@` line included."""
    old_first: int
    """First line of the old content that it replaces, counted from 0."""
    old_last: int
    """The line after the last one."""
    new_lines: tuple[bytes, ...]
    """What stands there instead, context included."""


def split_hunks(old: bytes, new: bytes) -> tuple[Hunk, ...]:
    """Return the hunks that lead from `old` to `new`, in order."""
    before, after = lines_of(old), lines_of(new)
    if before == after:
        return ()
    return tuple(
        Hunk(
            number=number,
            text=b"".join(hunk_text(group, before, after)),
            old_first=group[0][1],
            old_last=group[-1][2],
            new_lines=tuple(after[group[0][3] : group[-1][4]]),
        )
        for number, group in enumerate(hunk_groups(before, after), 1)
    )


def take_hunks(old: bytes, hunks: tuple[Hunk, ...], numbers: Collection[int]) -> bytes:
    """Return `old` with only the chosen hunks in it.

    Args:
        old: The content before the change.
        hunks: What `split_hunks` returned for it.
        numbers: Numbers of the hunks to take.
    """
    before = lines_of(old)
    taken: list[bytes] = []
    here = 0
    for hunk in hunks:
        if hunk.number in numbers:
            taken += [*before[here : hunk.old_first], *hunk.new_lines]
            here = hunk.old_last
    return b"".join([*taken, *before[here:]])


def reviewed_contents(stage: OpenStage, change: Change) -> tuple[bytes, bytes] | None:
    """Return a changed text file before and after; None when it has no hunks, or is not what was reviewed.

    Args:
        stage: The stage.
        change: A change of content.
    """
    before, after = change.before, change.after
    if before is None or after is None or {before.kind, after.kind} != {EntryKind.FILE}:
        return None
    try:
        source = stage.base_source(change.path)
        old = content_of(source, change.path, MAX_FILE_BYTES) if source is not None else None
        new = content_of(stage.upper, change.path, MAX_FILE_BYTES)
    except PathRefusedError:
        return None
    if old is None or new is None or is_binary(old) or is_binary(new):
        return None
    same = (sha256(old).hexdigest(), sha256(new).hexdigest()) == (before.digest, after.digest)
    return (old, new) if same else None
