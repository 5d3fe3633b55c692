"""Say what a delegated session has from the sessions above it: a parent, an influence, a pot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_runner.errors import NoFactsError
from agent_runner.meta import read_meta
from policies.grant import Grant
from policies.lineage import exercised_below

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from agent_runner.budget import Budget
    from agent_runner.traffic import Known, Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """From whom a session has its task."""

    parent: str
    """The session that delegated."""
    line: Grant
    """What that one counts as having exercised: its own grant, and those of all above it."""
    depth: int
    """How many sessions are above; 1 for the child of one that a person started."""
    budget: Budget
    """That session's, which counts what this one uses."""
    calls: Counter[str]
    """Command -> how often that session and those below it were allowed it; this one counts there too."""
    traffic: Traffic
    """That session's, which is told at the end what crossed under which rule."""
    known: Known
    """What the sessions above had let through when this one's bounds were set."""


def line_of(grant: Grant, descent: Descent | None) -> Grant:
    """Return what a session counts as having exercised: what influenced its parent came with the task."""
    if descent is None:
        return grant
    return Grant.of(exercised_below(descent.line.capabilities, grant))


def kept_line(folder: Path, grant: Grant) -> Grant:
    """Return the same of a session that is in the state folder.

    Args:
        folder: The session's folder.
        grant: What its policy grants.
    """
    try:
        kept = read_meta(folder).line
    except NoFactsError:
        return grant
    line = next((each for each in Grant if each.label == kept), grant)
    return Grant.of(exercised_below(line.capabilities, grant))
