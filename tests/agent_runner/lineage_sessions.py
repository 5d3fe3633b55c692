"""Make sessions whose requests, locks and ledgers are real, and of which only the sandbox is left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from agent_runner.approvals import NobodyApprover
from agent_runner.backends.scripted import Script, ScriptedBackend
from agent_runner.meta import write_meta
from agent_runner.opening import meta_of, opened
from agent_runner.request import SessionRequest
from audit import event
from audit.fields import Totals
from audit.journal import Journal, Registration
from audit.state import StateFiles
from policies.capability import Capability, in_order
from policies.grant import Grant
from policies.source import parse_policy
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from agent_runner.descent import Descent
    from agent_runner.lineage_use import DirectUse

COMMANDS: Final = {Capability.FILES: "files write", Capability.NETWORK: "http get", Capability.EXEC: "run"}


@dataclass(eq=False)
class Session:
    """A session as the world sees it."""

    request: SessionRequest
    name: str
    place: str
    journal: Journal
    use: DirectUse
    """The runner's; it remembers what it labelled."""
    influence: frozenset[Capability] = frozenset()
    """What it exercised, and what flowed into it."""
    runs: bool = True
    closed: bool = False
    actions: int = 0

    @property
    def direct(self) -> bool:
        """Whether it writes in the workspace at once."""
        assert self.request.policy.files is not None
        return self.request.policy.files.access == "direct"

    async def note(self, happened: Any) -> None:
        """Write an event to its ledger."""
        await self.journal.record(happened)

    async def intend(self, capability: Capability) -> None:
        """Write down that it is about to exercise a capability."""
        self.actions += 1
        told = {"action": f"{self.name}/{self.actions}", "command": COMMANDS[capability], "argv": ("x",)}
        await self.note(event.ActionIntended.model_validate({**told, "arguments": {}, "verdict": "allowed"}))

    async def resume(self) -> None:
        """Let another runner take it up."""
        self.journal = Journal.reopen(self.request.state, self.name)
        await self.journal.__aenter__()

    async def leave(self, *, closed: bool) -> None:
        """Let its runner go; closed, or as one that was killed."""
        if closed:
            await self.journal.close(
                event.SessionClosed(status="done", exit_code=0, reason="x", unfinished=False, totals=NOTHING)
            )
        await self.journal.__aexit__(None, None, None)
        self.runs, self.closed = False, closed


async def ledger_of(request: SessionRequest, name: str) -> Journal:
    """Register a session, and open its ledger."""
    registration = Registration(
        grant=request.policy.grant.label, workspace=str(request.workspace and request.workspace.path)
    )
    journal = Journal.create(request.state, name, registration=registration)
    await journal.__aenter__()
    folder = StateFiles(request.state).session(name).folder
    write_meta(folder, meta_of(request, name, command=False), request.policy.as_yaml())
    await journal.record(opened(request, name, journal))
    return journal


def request_on(
    folder: Path, state: Path, grant: Grant, access: str, *, descent: Descent | None = None
) -> SessionRequest:
    """Return what starts a session on a folder."""
    words = ", ".join(in_order(grant.capabilities))
    files = f"files: {{access: {access}, hide_defaults: false, protect_defaults: false}}"
    return replace(
        REQUEST,
        policy=parse_policy(f"version: 1\nname: x\ngrant: [{words}]\n{files}\n", origin="x"),
        workspace=open_workspace(folder, state=state),
        state=state,
        descent=descent,
    )


def request_for_outputs(state: Path, grant: Grant) -> SessionRequest:
    """Return what starts a session without `files`, which keeps outputs."""
    words = ", ".join(in_order(grant.capabilities))
    image = "exec: {contents: public}\n" if grant is Grant.NETWORK_EXEC else ""
    policy = parse_policy(f"version: 1\nname: x\ngrant: [{words}]\noutputs: out\n{image}", origin="x")
    return replace(REQUEST, policy=policy, state=state)


NOTHING = Totals(
    turns=0, actions=0, denials=0, model_ms=0, sandbox_ms=0, ledger_ms=0, waiting_ms=0, input_tokens=0,
    output_tokens=0, cached_tokens=0, sent_bytes=0, received_bytes=0,
)  # fmt: skip
REQUEST = SessionRequest(
    task="a test",
    policy=parse_policy("version: 1\nname: x\ngrant: [files]\n", origin="x"),
    policy_origin="x",
    workspace=None,
    backend=ScriptedBackend(Script.model_validate({"version": 1, "turns": [{"actions": ["x"]}]}), name="x"),
    state=Path("/nonexistent"),
    headless=True,
    task_is_origin=False,
    approver=NobodyApprover(),
    watcher=cast("Any", None),
    progress=lambda *_, **__: None,
)
