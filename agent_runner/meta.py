"""Keep a session's small facts beside its ledger, for `ps`, `diff` and people; the ledger is what counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from agent_runner.errors import NoFactsError
from audit.state import write_private
from policies.capability import Capability, in_order
from sandbox.workspace import WorkspaceIdentity

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "meta.json"
POLICY: Final = "policy.yaml"


class Meta(BaseModel):
    """What a session was started with."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    session: str
    policy: str
    """The policy's name."""
    policy_origin: str
    policy_digest: str
    grant: str
    workspace: str | None
    """The user's folder, resolved."""
    model: str
    model_reference: str = ""
    """How the model is named to get it again; empty when it has to be named on `resume`."""
    command: bool = False
    """Whether it ran a command of a person's: the conversation was that agent's own, and is not resumed."""
    started: str
    """ISO 8601, UTC."""
    process: int
    """The runner's process id."""
    parent: str = ""
    """The session that delegated to it; empty for one that a person started."""
    line: str = ""
    """The label of what it counts as having exercised, its parents' part too; empty for its own grant."""
    found: str = ""
    """What sessions had exercised whose writes in its workspace nobody had reviewed when it began."""
    device: int = 0
    """`st_dev` of the workspace when it began."""
    inode: int = 0
    """`st_ino` of it; 0 where nobody wrote it down."""
    birth_ns: int = 0
    """When that folder was made, nanoseconds since 1970; 0 where the filesystem does not say."""

    @property
    def identity(self) -> WorkspaceIdentity | None:
        """Return which folder the workspace was when it began; None where that was not written down."""
        if self.workspace is None or not self.inode:
            return None
        return WorkspaceIdentity(
            device=self.device, inode=self.inode, birth_ns=self.birth_ns, path=self.workspace
        )


def write_meta(folder: Path, meta: Meta, policy_text: str) -> None:
    """Write the facts, and the policy as resolved."""
    write_private(folder / FILE, meta.model_dump_json(indent=1).encode() + b"\n")
    write_private(folder / POLICY, policy_text.encode())


def note_found(folder: Path, found: frozenset[Capability]) -> None:
    """Add what a session found unreviewed in its workspace.

    Raises:
        NoFactsError: When its facts are missing or damaged.
    """
    meta = read_meta(folder)
    both = "+".join(in_order(found | capabilities_of(meta.found)))
    if both != meta.found:
        told = meta.model_copy(update={"found": both})
        write_private(folder / FILE, told.model_dump_json(indent=1).encode() + b"\n")


def capabilities_of(label: str) -> frozenset[Capability]:
    """Return what a label such as `files+network` names."""
    words = label.split("+")
    return frozenset(capability for capability in Capability if capability.value in words)


def read_meta(folder: Path) -> Meta:
    """Read a session's facts.

    Raises:
        NoFactsError: When they are missing or damaged.
    """
    try:
        return Meta.model_validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise NoFactsError(
            f"session `{folder.name}` has no readable facts beside its ledger",
            hint=f"`pairlock audit show {folder.name}` reads the ledger itself",
        ) from error
