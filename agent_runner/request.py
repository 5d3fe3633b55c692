"""Say what a session is started with, and what is told of it at its end. Nothing runs here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from agent_runner.errors import InvalidInputError
from agent_runner.housing import ContainerHousing, Housing
from agent_runner.outage import Outage
from audit.escape import escape_line

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.approvals import Asker
    from agent_runner.backends.backend import Backend
    from agent_runner.descent import Descent
    from agent_runner.transcript import Watcher
    from audit.fields import Totals
    from cli_tools.action import Catalogue
    from policies.policy import Policy
    from sandbox.runtime.engine import Progress
    from sandbox.stage import StagePlan
    from sandbox.workspace import Workspace

Status = Literal[
    "done", "failed", "denied", "budget", "sandbox_failed", "ledger_failed", "model_failed", "interrupted"
]

EXIT_CODES: Final[dict[Status, int]] = {
    "done": 0,
    "failed": 1,
    "denied": 3,
    "sandbox_failed": 4,
    "budget": 5,
    "ledger_failed": 6,
    "model_failed": 7,
    "interrupted": 130,
}


def require_task(task: str) -> None:
    """Return if there is anything to do.

    Raises:
        InvalidInputError: When the task is empty.
    """
    if not task.strip():
        raise InvalidInputError(
            f"TASK is `{escape_line(task, width=20)}`, expected a sentence",
            hint="say what the agent is to do",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRequest:
    """What a session is started with."""

    task: str
    policy: Policy
    policy_origin: str
    """Where the policy came from, for people."""
    workspace: Workspace | None
    """The user's folder; given exactly when the grant holds `files`."""
    backend: Backend
    state: Path
    """The state folder, absolute."""
    headless: bool
    """Whether nobody can be asked; what needs an approval is then denied."""
    task_is_origin: bool
    """Whether sinks may be taken from the task's text."""
    approver: Asker
    watcher: Watcher
    progress: Progress
    model_reference: str = ""
    """How the model is named to get it again on `resume`; empty when it has to be named then."""
    housing: Housing = field(default_factory=ContainerHousing)
    """Where the sandbox comes from: a container, unless a test hands in something else."""
    session: str = ""
    """The session's id, where it had to be known beforehand; empty makes a new one."""
    catalogue: Catalogue | None = None
    """The commands that exist; None for those that this machine knows."""
    may_repeat: bool = False
    """Whether the same calls may be made any number of times in a row: a program makes them, and no model."""
    reachable: bool = False
    """Whether the Python API lets this user's other terminals, and a configured webhook, stop it and answer
    its questions."""
    may_delegate: bool = False
    """Whether it may start sessions below it, where its policy allows the command."""
    long_characters: int | None = None
    """From which length on the conversation is shortened, about four characters to a token; None for what the
    configuration says that the model takes in."""
    descent: Descent | None = None
    """What a delegated session has from the one above; None for one that a person started."""
    outage: Outage = field(default_factory=Outage)
    """How long a model's server is waited for that has answered in this session, and is down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResult:
    """A session's account."""

    session: str
    status: Status
    exit_code: int
    reason: str
    unfinished: bool
    """Whether the model stopped without saying that it was done, or this machine failed."""
    totals: Totals
    start_seconds: float
    """From the create request to the end of the attestation; 0 when the sandbox was never made."""
    ledger: Path
    """The session's log."""
    plan: StagePlan | None
    """How the workspace was held; None in a session without `files`, or whose sandbox never stood."""
    error: BaseException | None
    """What ended the session, when something broke."""
