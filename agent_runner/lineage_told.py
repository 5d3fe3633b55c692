"""Say why a workspace's label refuses a session: who exercised what, where, and the ways on. Pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from agent_runner.errors import RefusedError
from agent_runner.lineage_places import Place
from policies.capability import Capability, in_order
from policies.grant import Grant
from policies.lineage import decide_lineage
from policies.request import Allowed
from policies.wording import is_unseen, listed, quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.lineage_places import Unreviewed
    from policies.lineage import Label
    from sandbox.workspace import WorkspaceIdentity

MOST_NAMED: Final = 3
"""Sessions and folders that are named; the rest are counted."""


def refusal(
    grant: Grant, workspace: WorkspaceIdentity, counting: Sequence[Unreviewed], brought: Label
) -> RefusedError:
    """Return what a person is told.

    Args:
        grant: What the session would hold.
        workspace: Its workspace.
        counting: The labels that count there.
        brought: What the session itself brings along from others.
    """
    missing = frozenset(Capability) - grant.capabilities
    makers = [found for found in counting if found.label.capabilities & missing]
    told = [_told(found, missing) for found in makers[:MOST_NAMED]]
    told += [f"and the same in {len(makers) - MOST_NAMED} more folders"] if len(makers) > MOST_NAMED else []
    told += [
        f"it brings {_words(part.exercised)} along, from session `{part.session}`"
        for part in brought.contributions
        if part.exercised & missing
    ]
    why = "; ".join(told)
    return RefusedError(
        f"`{grant.label}` makes three with what nobody has reviewed: {why}",
        hint=_ways_on(grant, workspace, makers, brought),
    )


def cannot_go_on(session: str, grant: Grant, brought: frozenset[Capability]) -> RefusedError:
    """Return what a person is told whose session may itself have read what makes three: no review helps it.

    Args:
        session: Its id.
        grant: What it holds.
        brought: What came while it ran, or after it was killed.
    """
    missing = brought - grant.capabilities
    return RefusedError(
        f"session `{session}` holds `{grant.label}`, and may have read what came of {_words(missing)}: "
        "that makes three",
        hint=f"start another session; `pairlock diff {session}` shows what this one did, and "
        f"`pairlock apply {session}` takes it",
    )


def review_line(folder: str) -> str:
    """Return the command that shows what is unreviewed in a folder, as it can be typed."""
    if any(map(is_unseen, folder)) or "`" in folder:
        return "pairlock review ."  # in the folder itself: its name cannot be typed from a message
    return f"pairlock review {shlex.quote(folder)}"


def _told(found: Unreviewed, missing: frozenset[Capability]) -> str:
    parts = [part for part in found.label.contributions if part.exercised & missing]
    exercised = frozenset[Capability]().union(*(part.exercised for part in parts))
    alone = len(parts) == 1
    who = f"{'session' if alone else 'sessions'} {_sessions([part.session for part in parts])}"
    did = "exercised" if alone else "exercised, or built on,"
    return f"{who} {did} {_words(exercised)} in {quoted(found.folder.path)}"


def _sessions(ids: Sequence[str]) -> str:
    more = len(ids) - MOST_NAMED
    return listed(ids[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _words(capabilities: frozenset[Capability]) -> str:
    return " and ".join(f"`{word}`" for word in in_order(capabilities))


def _ways_on(grant: Grant, workspace: WorkspaceIdentity, makers: Sequence[Unreviewed], brought: Label) -> str:
    """Name what helps: a review of each folder that counts, or a narrower grant where there is one."""
    around = [found.folder.path for found in makers if found.place is Place.AROUND]
    here = [workspace.path] if len(around) < len(makers) else []
    lines = [f"`{review_line(path)}`" for path in (*here, *around)][:MOST_NAMED]
    show = "shows" if len(lines) == 1 else "show"
    ways = [f"{' and '.join(lines)} {show} what they left; `--endorse` takes the label off"] if lines else []
    whole = brought
    for found in makers:
        whole = whole.joined(found.label)
    has_files = Capability.FILES in grant.capabilities and grant is not Grant.FILES
    narrower = has_files and isinstance(decide_lineage(Grant.FILES, whole), Allowed)
    ways += ["a policy that grants `files` alone needs no review"] if narrower else []
    return "; ".join(ways)
