"""What a user of the Python API writes, each part of docs/python-api.md, for a type checker to read."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from agent_runner import (
    aresume_session,
    arun_command,
    arun_session,
    resume_request,
    resume_session,
    run_command,
    run_session,
    session_request,
)
from agent_runner.approvals import Answer
from agent_runner.backends.backend import Reply
from agent_runner.backends.failure import Failure, ModelServerError
from agent_runner.errors import RunnerError
from agent_runner.following import follow_session
from agent_runner.outage import Outage
from agent_runner.question import Question, question_lines
from policies.errors import PolicyError
from sandbox.workspace import WorkspaceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner import Ran, ResumeRequest, SessionRequest, SessionResult
    from agent_runner.backends.backend import Message
    from agent_runner.gateway.terminal import Terminal
    from cli_tools.observation import Observation
    from cli_tools.schema import Tool


class Mine:
    """A model of the program's own."""

    kind = "mine"
    model = "m"

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """Say how much was asked, or that its server is down."""
        if not tools:
            raise ModelServerError("it is down", failure=Failure(kind="unreachable"))
        return Reply(text=f"{len(messages)} messages")

    async def close(self) -> None:
        """Do nothing."""


class Person:
    """Answers questions."""

    async def ask(self, question: Question) -> Answer:
        """Say no to all."""
        sys.stderr.write("\n".join(question_lines(question)))
        return Answer(verdict="denied", by="nobody", via="program")


class Eyes:
    """Watches."""

    def said(self, turn: int, reply: Reply) -> None:
        """Show a reply."""
        sys.stderr.write(f"{turn}: {reply.text}\n")

    def saw(self, observation: Observation) -> None:
        """Show an action."""
        sys.stderr.write(f"{observation.text}\n")


def without_a_loop() -> int:
    """Run, follow and go on."""
    request: SessionRequest = session_request(
        "list the files",
        policy="read-only-review",
        workspace=".",
        model=Mine(),
        approver=Person(),
        watcher=Eyes(),
    )
    request = replace(request, outage=Outage(given_up_seconds=600))
    try:
        result: SessionResult = run_session(request)
    except (RunnerError, PolicyError, WorkspaceError) as error:
        sys.exit(str(error))
    for entry in follow_session(request.state, result.session):
        sys.stderr.write(f"{entry.seq}\n")
    again: ResumeRequest = resume_request("last", add_budget="turns=10", model=Mine())
    ran: Ran = run_command(request, ["true"])
    return resume_session(again).totals.turns + (ran.code or 0)


async def with_one(terminal: Terminal) -> int:
    """Run two at once, go on with the last, and run a command."""
    request = session_request("list the files", policy="read-only-review", workspace=".", reachable=True)
    first, second = await asyncio.gather(arun_session(request), arun_session(request))
    last = await aresume_session(resume_request("last"))
    ran = await arun_command(request, ("true",), terminal)
    await request.backend.close()
    return max(first.exit_code, second.exit_code, last.exit_code, ran.result.exit_code)
