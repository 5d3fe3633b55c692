"""Find which deleted file an added one was, by content."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.stage.changes import Change


def with_renames(changes: list[Change]) -> Iterator[Change]:
    """Pair each added file with a deleted one of the same content, each at most once."""
    deleted: dict[tuple[str, int], list[str]] = {}
    for change in changes:
        before = change.before
        if change.after is None and before and before.digest and before.size:
            deleted.setdefault((before.digest, before.mode), []).append(change.path)
    pairs: dict[str, str] = {}
    for change in changes:
        after = change.after
        if change.before is None and after and (candidates := deleted.get((after.digest, after.mode))):
            pairs[change.path] = candidates.pop()
    old = {source: target for target, source in pairs.items()}
    for change in changes:
        yield replace(change, renamed_from=pairs.get(change.path, ""), renamed_to=old.get(change.path, ""))
