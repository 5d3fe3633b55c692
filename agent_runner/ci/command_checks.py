"""Run a task's command checks: each a session of its own, in a fresh sandbox, on what the agent left.

The command, its policy and so its image and environment come from the trusted task file. Its session has no
model: a script proposes the one command, and its ledger tells it as every ledger does.
"""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from agent_runner.approvals import NobodyApprover
from agent_runner.backends.scripted import Script, ScriptedBackend, Turn
from agent_runner.ci.outcome import FAILED, CheckResult
from agent_runner.ci.sense import line_of_check
from agent_runner.ids import new_session_id
from agent_runner.place import Place
from agent_runner.policy_file import LoadedPolicy
from agent_runner.session import run_session

if TYPE_CHECKING:
    from agent_runner.backends.backend import Reply
    from agent_runner.ci.placing import Bench
    from agent_runner.ci.task import CommandCheck
    from agent_runner.request import SessionResult
    from cli_tools.observation import Observation
    from policies.policy import Policy
    from sandbox.workspace import Workspace

OUTPUT_CHARACTERS: Final = 4000
"""How much of what a command wrote is shown, from its end; all of it is in its ledger."""


async def command_check(
    check: CommandCheck, policy: Policy, workspace: Workspace, bench: Bench
) -> CheckResult:
    """Run one command and say what came of it.

    Args:
        check: The command.
        policy: Under which; files + exec, and its changes are never taken.
        workspace: What the agent's changes lead to.
        bench: Where it runs.

    Raises:
        RefusedError: When what was left in the workspace would, with the check, make three.
        audit.errors.LedgerError: When not even the session's first line can be written.
    """
    began, line = time.monotonic(), line_of_check(check)
    backend = ScriptedBackend(_script(line), name="check")
    place = Place(
        loaded=LoadedPolicy(policy=policy, origin=policy.name, path=None),
        workspace=workspace,
        state=bench.state,
        headless=True,
        approver=NobodyApprover(),
        progress=bench.progress,
    )
    eyes, session = _FirstSeen(), new_session_id()
    bench.began(session)
    request = replace(place.request(f"check: {line}", backend, eyes), session=session)
    result = await run_session(request)
    code, why = _verdict(eyes.first, result)
    return CheckResult(
        name=name_of_command(check),
        code=code,
        why=why,
        output=eyes.first.text[-OUTPUT_CHARACTERS:] if eyes.first else "",
        session=result.session,
        seconds=time.monotonic() - began,
    )


def name_of_command(check: CommandCheck) -> str:
    """Return what a command check is called."""
    return f"command: {shlex.join(check.run)}"


def _script(line: str) -> Script:
    turns = (Turn(actions=(line,)), Turn(actions=("finish --status done checked",)))
    return Script(version=1, turns=turns)


def _verdict(seen: Observation | None, result: SessionResult) -> tuple[int, str]:
    """Return the exit code and what was found; a check holds only if everything around it held, too."""
    if seen is None or result.status != "done":
        return result.exit_code or FAILED, f"its session ended with {result.status}: {result.reason}"
    if seen.kind != "done" or seen.outcome is None:
        return FAILED, seen.text.partition("\n")[0]
    if seen.outcome.timed_out:
        return FAILED, f"it was ended after {int(seen.outcome.allowed_seconds)} s"
    if seen.outcome.exit_code != 0:
        return FAILED, f"exit code {seen.outcome.exit_code}"
    return 0, ""


class _FirstSeen:
    """Keep what came of the first action: programs of the check may call commands, too."""

    def __init__(self) -> None:
        self.first: Observation | None = None

    def said(self, turn: int, reply: Reply) -> None:
        """Take no note."""

    def saw(self, observation: Observation) -> None:
        """Keep the first."""
        self.first = self.first or observation
