"""Open what the benchmarks of actions measure: a sandbox, its gate and a real ledger; nothing is left."""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.approvals import NobodyApprover, RecordedApprover
from agent_runner.container import sandbox_for
from agent_runner.housing import Order
from agent_runner.ids import new_session_id
from audit.journal import Journal, Registration
from audit.state import prepare
from cli_tools.catalogue import built_in
from cli_tools.gate import Gate
from cli_tools.record import Record
from policies.capability import Capability
from policies.request import SessionFacts
from policies.source import parse_policy
from sandbox.docker_engine import DockerEngine
from sandbox.runtime.cleaning import remove_built
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_runner.container import Placement
    from policies.policy import Policy
    from sandbox.session import Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What an action goes through."""

    folder: Path
    """A scratch folder on the disk of the ledger."""
    policy: Policy
    sandbox: Sandbox
    record: Record
    gate: Gate


@asynccontextmanager
async def opened(policy_text: str) -> AsyncIterator[Opened]:
    """Open a sandbox on a workspace with one small file, and its gate.

    Args:
        policy_text: A policy that grants `files`.
    """
    with tempfile.TemporaryDirectory(prefix="pairlock-benchmark-") as name:
        workspace, state = Path(name) / "workspace", Path(name) / "state"
        workspace.mkdir()
        (workspace / "small.txt").write_bytes(b"x" * 64)
        try:
            async with _gate(
                Path(name), parse_policy(policy_text, origin="benchmark"), workspace, state
            ) as it:
                yield it
        finally:
            engine = await DockerEngine.connect()
            await remove_built(engine, state=state, current=True)
            await engine.close()


@asynccontextmanager
async def _gate(folder: Path, policy: Policy, workspace: Path, state: Path) -> AsyncIterator[Opened]:
    session, files = new_session_id(), prepare(state)
    async with Journal.create(
        state,
        session,
        registration=Registration(grant=policy.grant.label),
        programs=Capability.EXEC in policy.grant.capabilities,  # as a session has it
    ) as journal:
        order = Order(
            session=session,
            policy=policy,
            workspace=open_workspace(workspace, state=state),
            state=state,
            folder=files.session(session).folder,
            resumed=False,
            journal=journal,
            progress=_quiet,
        )
        async with sandbox_for(order, made=_noted) as (_, sandbox):
            record = Record(journal, session)
            gate = Gate(
                policy=policy,
                facts=SessionFacts(grant=policy.grant),
                catalogue=built_in(),
                sandbox=sandbox,
                egress=None,
                record=record,
                approver=RecordedApprover(journal, record, session, NobodyApprover()),
            )
            yield Opened(folder=folder, policy=policy, sandbox=sandbox, record=record, gate=gate)


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass


async def _noted(placement: Placement, container_id: str) -> None:
    pass
