"""The rule across sessions: children stay within their parent, and a workspace remembers who wrote in it.

A label is what every session whose writes in a workspace nobody has reviewed has exercised. The stage keeps
it; here is only what it means. A label never shrinks but by a person's review.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.capability import Capability, in_order
from policies.request import Allowed, Denied, Reason
from policies.wording import listed

if TYPE_CHECKING:
    from policies.grant import Grant


@dataclass(frozen=True, slots=True)
class Contribution:
    """One session's part in a label.

    Attributes:
        session: The session's id.
        exercised: The capabilities that it exercised before or while it wrote; in a delegated session, with
            those of every session above it (`exercised_below`).
    """

    session: str
    exercised: frozenset[Capability]


@dataclass(frozen=True, slots=True)
class Label:
    """What unreviewed writes a workspace carries.

    Attributes:
        contributions: The sessions, in the order in which they wrote; empty means reviewed.
    """

    contributions: tuple[Contribution, ...] = ()

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Every capability that was exercised by a contributor."""
        return frozenset().union(*(part.exercised for part in self.contributions))

    def joined(self, other: Label) -> Label:
        """Add another label, as when files are copied in.

        Args:
            other: The label of what is added.

        Returns:
            A label with both histories; a session in both counts with all that it exercised.
        """
        exercised: dict[str, frozenset[Capability]] = {}
        for part in (*self.contributions, *other.contributions):
            exercised[part.session] = exercised.get(part.session, frozenset()) | part.exercised
        return Label(tuple(Contribution(session, held) for session, held in exercised.items()))

    def written_by(self, session: str, exercised: frozenset[Capability]) -> Label:
        """Add a session's writes.

        Args:
            session: Its id.
            exercised: What it exercised so far.

        Returns:
            The label afterwards.
        """
        return self.joined(Label((Contribution(session, exercised),)))


def decide_lineage(grant: Grant, label: Label) -> Allowed | Denied:
    """Decide whether a session may start on a workspace.

    Args:
        grant: The session's grant.
        label: The workspace's label.

    Returns:
        Denied when the grant, joined with what unreviewed sessions exercised, makes three.
    """
    together = grant.capabilities | label.capabilities
    if together < frozenset(Capability):
        return Allowed()
    missing = label.capabilities - grant.capabilities
    makers = [part.session for part in label.contributions if part.exercised & missing]
    return Denied(
        (
            Reason(
                "lineage",
                f"the workspace holds unreviewed writes of {listed(makers)}, which exercised "
                f"{listed(in_order(label.capabilities))}; with `{grant.label}` that makes three",
                "`pairlock review DIR` shows them, and `--endorse` takes the label off; or use a "
                "narrower grant",
            ),
        )
    )


def decide_delegation(parent: Grant, child: Grant) -> Allowed | Denied:
    """Decide whether a session may delegate to another one.

    Args:
        parent: The delegating session's grant.
        child: The grant that the new one would hold.

    Returns:
        Denied when the child would hold what its parent does not.
    """
    if child.within(parent):
        return Allowed()
    extra = listed(in_order(child.capabilities - parent.capabilities))
    what = f"a child of `{parent.label}` would hold {extra}"
    return Denied((Reason("lineage", what, "a child's grant is within its parent's"),))


def exercised_below(parent: frozenset[Capability], child: Grant) -> frozenset[Capability]:
    """Say what a delegated session counts as having exercised: its parent's influence came with the task.

    Args:
        parent: What the delegating session counts as having exercised.
        child: The new session's grant.

    Returns:
        Both together; never all three, because a child's grant is within its parent's.
    """
    return parent | child.capabilities


def decide_continuation(granted: Grant, wanted: Grant) -> Allowed | Denied:
    """Decide whether a session may go on: resumed, approved or configured anew, it holds what it held.

    Args:
        granted: The grant that the session started with.
        wanted: The grant that it would go on with.

    Returns:
        Denied unless both are the same.
    """
    if wanted is granted:
        return Allowed()
    what = f"the session holds `{granted.label}` for its whole life; it cannot go on with `{wanted.label}`"
    return Denied((Reason("lineage", what, "start another session"),))
