"""Write labels again that are damaged or gone, as the host's log says that they have to be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.label_proof import told
from agent_runner.lineage import labels_of, noted_as
from audit.state import StateFiles
from policies.capability import Capability
from policies.lineage import Contribution, Label
from sandbox.stage.errors import LabelError
from sandbox.workspace import identity_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_runner.label_proof import Held
    from sandbox.workspace import WorkspaceIdentity

_WHY = "it was damaged or gone, and is as the host's log says"


def restore_labels(state: Path, workspace: WorkspaceIdentity) -> Iterator[str]:
    """Restore every label that cannot be read, and what a workspace's own lacks; yield whose was restored.

    A label is only ever raised by it.

    Args:
        state: The state folder.
        workspace: The folder that a person looks at.

    Raises:
        sandbox.stage.errors.LabelError: When one cannot be read, and its folder is not where it was.
        audit.errors.AuditError: When the host's log cannot be read.
    """
    said, labels, noted = told(StateFiles(state)), labels_of(state), noted_as(state, why=_WHY)
    for key in labels.damaged():
        folder = _identity(said.paths.get(key, ""), key)
        labels.rewrite(folder, _label(said.labels.get(key, {})), noted=noted)
        yield folder.path
    wanted = _label(said.labels.get(workspace.key, {}))
    there = labels.read(workspace)
    if wanted.joined(there).capabilities != there.capabilities:
        labels.raise_to(workspace, wanted, noted=noted)
        yield workspace.path


def _identity(path: str, key: str) -> WorkspaceIdentity:
    """Return the folder that a damaged label is of.

    Raises:
        LabelError: When it is not where the log says that it was.
    """
    try:
        found = identity_of(Path(path)) if path else None
    except OSError:
        found = None
    if found is None or found.key != key:
        where = f"of `{path}`, which is there no longer," if path else "of a folder that nobody knows"
        raise LabelError(
            f"the label `{key}` {where} cannot be read",
            hint=f"review what was in it, then remove `workspaces/{key}.json` from the state folder",
        )
    return found


def _label(held: Held) -> Label:
    parts = ((session, frozenset(map(Capability, words))) for session, words in held.items())
    return Label(tuple(Contribution(session, words) for session, words in parts))
