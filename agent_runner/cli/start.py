"""Make a folder ready for its first session: `pairlock init`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.place import PROJECT_POLICY
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from agent_runner.starting import Plan


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; the current one.")] = Path(),
    policy: Annotated[
        str | None, typer.Option("--policy", "-p", help="The policy of the library to start from.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take what fits the folder.")] = False,
) -> None:
    """Write a first policy for a folder, `pairlock.yaml`, and trust it; nothing that is there is replaced."""
    from agent_runner.cli.policy_new import ask
    from agent_runner.errors import InvalidInputError
    from agent_runner.starting import plan_for, start_policy
    from agent_runner.state import state_folder
    from audit.escape import escape_line

    plan = plan_for(folder, policy)
    if not yes and policy is None:
        if not sys.stdin.isatty():
            raise InvalidInputError(
                "there is no terminal to ask questions on", hint="`--yes` takes what fits the folder"
            )
        say(f"{escape_line(str(plan.folder))}: {plan.why}")
        plan = ask(
            "which policy of the library", default=plan.policy, read=lambda name: plan_for(folder, name)
        )
    written = start_policy(plan, state_folder())
    for line in _next_steps(plan, written, why=plan.why if yes and policy is None else ""):
        say(escape_line(line))


def _next_steps(plan: Plan, written: Path, *, why: str) -> list[str]:
    from agent_runner.models import configuration_path
    from agent_runner.starting import is_model_configured

    steps = [
        f"{written}: `{plan.policy}`, {plan.grant}; trusted as it stands",
        *([f"  why: {why}; `--policy` names another"] if why else []),
        f"  read what it lets an agent do: pairlock policy explain {PROJECT_POLICY}",
    ]
    if not is_model_configured():
        steps.append(f"  no model is configured in {configuration_path()}: `pairlock run` says how")
    return [*steps, '  start: pairlock run "TASK"']
