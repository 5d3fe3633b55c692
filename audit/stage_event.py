"""What is told of a workspace: what was written to it, what was thrown away, its label."""

from audit.fields import Event, Text


class StageApplied(Event):
    """Changes of the stage were written to the workspace."""

    kind = "stage.applied"
    session: str
    workspace: Text
    applied: tuple[Text, ...]
    """Paths that were written."""
    refused: tuple[Text, ...]
    """Paths that were not."""
    by: Text
    whole: bool
    """Whether nothing of the stage is left."""
    branch: Text = ""
    """The git branch that they were committed to instead; empty when they were written to the files."""


class StageDiscarded(Event):
    """The stage was thrown away."""

    kind = "stage.discarded"
    session: str
    workspace: Text
    by: Text
    why: Text


class LabelChanged(Event):
    """A workspace's label was set, widened or taken off."""

    kind = "label.changed"
    workspace: Text
    identity: str
    """The workspace as the host knows it."""
    before: tuple[str, ...]
    after: tuple[str, ...]
    sessions: tuple[str, ...]
    """The sessions that made the label."""
    why: Text
    contributions: tuple[str, ...] = ()
    """What the label holds now: each session with what it exercised, as `<session> files+network`."""
    merged: tuple[str, ...] = ()
    """Other identities under which the same folder was known, whose labels this one now holds."""
