"""Open a real gate: the real guest in namespaces of its own, a real journal, no engine."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from audit.journal import Journal, Registration
from audit.state import prepare
from cli_tools.action import Catalogue, LineProposal, Proposal, ToolProposal
from cli_tools.catalogue import built_in
from cli_tools.connector import NONE
from cli_tools.gate import Gate
from cli_tools.record import Record
from cli_tools.stubs import Stubs
from policies.request import Allowed, Denied, NeedsApproval, SessionFacts
from policies.source import parse_policy
from sandbox.limits import Limits
from sandbox.session import Sandbox
from tests.sandbox.guest.launch import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from cli_tools.action import Action
    from cli_tools.connector import Connectors
    from cli_tools.observation import Observation
    from sandbox.egress.gate import EgressGate
    from sandbox.spec import ContainerSpec

SESSION = "0123456789ab"
FILES = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *", output last]}\n'
BOTH = """version: 1
name: x
grant: [files, exec]
exec: {programs: any}
commands: {allow: ["files *", run, output last]}
"""


@dataclass
class Answering:
    """Say the same to every question, and remember the questions."""

    answer: Allowed | Denied
    asked: list[tuple[tuple[str, ...], NeedsApproval]]

    async def approve(
        self,
        number: str,  # noqa: ARG002 - the protocol's parameter
        action: Action,
        question: NeedsApproval,
    ) -> Allowed | Denied:
        """Return the answer."""
        self.asked.append((action.argv, question))
        return self.answer


@dataclass
class Door:
    """A gate, and what came of it."""

    gate: Gate
    folder: Path
    state: Path
    approver: Answering
    sandbox: Sandbox
    stubs: Stubs
    """Not served; a test has its sandbox's programs find them."""

    async def line(self, line: str, body: bytes | str | None = None) -> Observation:
        """Propose a command line."""
        raw = body.encode() if isinstance(body, str) else body
        return await self.gate.act(LineProposal(line=line, body=raw))

    async def tool(self, tool: str, /, **arguments: object) -> Observation:
        """Propose a tool call."""
        return await self.gate.act(ToolProposal(tool=tool, arguments=json.dumps(arguments)))

    async def propose(self, proposal: Proposal) -> Observation:
        """Propose anything."""
        return await self.gate.act(proposal)

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Return the bodies of the ledger's entries of one type."""
        path = prepare(self.state).session(SESSION).folder / "events.jsonl"
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        return [line["body"] for line in lines if line["type"] == kind]


@contextlib.asynccontextmanager
async def open_door(  # noqa: PLR0913 - a door in all its parts
    place: Path,
    policy: str = FILES,
    *,
    catalogue: Catalogue | None = None,
    answer: Allowed | Denied | None = None,
    secrets: dict[str, str] | None = None,
    connectors: Connectors = NONE,
    egress: EgressGate | None = None,
    spend: Callable[[], None] = lambda: None,
) -> AsyncIterator[Door]:
    """Open a gate before a guest at `place/workspace`; somebody can be asked when `answer` is given."""
    folder, state = place / "workspace", place / "state"
    folder.mkdir(exist_ok=True)
    state.mkdir(mode=0o700)
    parsed = parse_policy(policy, origin="test.yaml")
    executes = "exec" in parsed.grant.label
    registration = Registration(grant=parsed.grant.label, workspace=str(folder), owner_uid=0)
    approver = Answering(answer or Denied(()), [])
    async with (
        running(folder, *(["--exec"] if executes else [])) as guest,
        Journal.create(state, SESSION, registration=registration, secrets_by_name=secrets) as journal,
    ):
        sandbox = Sandbox(
            spec=cast("ContainerSpec", None),  # there is no container
            container_id="",
            limits=Limits(),
            evidence=(),
            link=guest.link,
            started_seconds=0.0,
        )
        record, known = Record(journal, SESSION), catalogue or built_in()
        gate = Gate(
            policy=parsed,
            facts=SessionFacts(grant=parsed.grant, headless=answer is None),
            catalogue=known,
            sandbox=sandbox,
            egress=egress,
            record=record,
            approver=approver,
            connectors=connectors,
        )
        stubs = Stubs(gate, known, parsed, record, spend=spend)
        yield Door(gate, folder, state, approver, sandbox, stubs)
