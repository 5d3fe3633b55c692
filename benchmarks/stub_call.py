"""Measure a command that a program calls by name inside, against its parts: a start, and the action.

Run: `python -m benchmarks.stub_call`. It needs a Docker engine; everything is measured in this run, in one
real container, and cleaned up. The stub's overhead is what a call takes beyond the start of a program that
does nothing and beyond the same action from the host, both durable writes of it included.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from agent_runner.approvals import NobodyApprover, RecordedApprover
from agent_runner.container import sandbox_for
from agent_runner.housing import Order
from agent_runner.ids import new_session_id
from audit.journal import Journal, Registration
from audit.state import prepare
from cli_tools.action import LineProposal
from cli_tools.catalogue import built_in
from cli_tools.gate import Gate
from cli_tools.record import Record
from cli_tools.stubs import Stubs
from policies.request import SessionFacts
from policies.source import parse_policy
from sandbox.docker_engine import DockerEngine
from sandbox.runtime.cleaning import remove_built
from sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from agent_runner.container import Placement

POLICY = """version: 1
name: benchmark
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", python]}
"""
ROUNDS = 300
LINE = "files stat small.txt"
INSIDE = """
import json, os, time
def median(argv):
    samples = []
    for _ in range(ROUNDS):
        quiet = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
        start = time.perf_counter()
        os.waitpid(os.posix_spawn(argv[0], argv, os.environ, file_actions=quiet), 0)
        samples.append(time.perf_counter() - start)
    return sorted(samples)[len(samples) // 2] * 1000
folder = os.environ["PAIRLOCK_COMMANDS"]
print(json.dumps([median(["/bin/true"]), median([folder + "/files", *"LINE".split()[1:]])]))
"""


async def measured(gate: Gate) -> tuple[float, float, float]:
    """Return the medians of a program's start, of a call by name, and of the action, in milliseconds."""
    text = INSIDE.replace("ROUNDS", str(ROUNDS)).replace("LINE", LINE)
    seen = await gate.act(LineProposal(line="python", body=text.encode()))
    started, called = json.loads(seen.text)
    samples = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        await gate.act(LineProposal(line=LINE))
        samples.append(time.perf_counter() - start)
    return started, called, median(samples) * 1000


async def main() -> None:
    """Measure, and print the parts and what is left."""
    with tempfile.TemporaryDirectory(prefix="pairlock-benchmark-") as name:
        workspace, state = Path(name) / "workspace", Path(name) / "state"
        workspace.mkdir()
        (workspace / "small.txt").write_bytes(b"x" * 64)
        policy, session, files = parse_policy(POLICY, origin="benchmark"), new_session_id(), prepare(state)
        try:
            registration = Registration(grant=policy.grant.label)
            async with Journal.create(state, session, registration=registration) as journal:
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
                    stubs = Stubs(gate, built_in(), policy, record, spend=lambda: None)
                    await sandbox.put_on_path(stubs.names, stubs)
                    started, called, acted = await measured(gate)
        finally:
            engine = await DockerEngine.connect()
            await remove_built(engine, state=state, current=True)
            await engine.close()
    print(f"{'a program that does nothing, started inside':<58}{started:>8.2f} ms")
    print(f"{'the action from the host, gate and ledger included':<58}{acted:>8.2f} ms")
    print(f"{'the action called by name inside':<58}{called:>8.2f} ms")
    print(f"{'the stub over both':<58}{called - started - acted:>8.2f} ms")


def _quiet(message: str, /, *, done: int, total: int) -> None:
    pass


async def _noted(placement: Placement, container_id: str) -> None:
    pass


if __name__ == "__main__":
    asyncio.run(main())
