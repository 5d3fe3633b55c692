"""Run one session from the command line: `pairlock run`."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agent_runner.cli.exits import explain
from agent_runner.cli.place import place_for
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from agent_runner.backends.backend import Backend
    from agent_runner.session import SessionRequest, SessionResult
    from policies.policy import Policy

POLICY_HELP: Final = "A policy file, or a name of the library; else the folder's own `pairlock.yaml`."
MODEL_HELP: Final = (
    "A configured model, openai:MODEL@URL, scripted:FILE or replay:ID; else the one that is called `default`."
)


def run(  # noqa: PLR0913, PLR0917 - typer makes an option of each
    task: Annotated[str, typer.Argument(metavar="TASK", help="What the agent is to do.", show_default=False)],
    policy: Annotated[str | None, typer.Option("--policy", "-p", help=POLICY_HELP)] = None,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", help="The folder; the current one if the policy has files."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help=MODEL_HELP)] = None,
    task_is_origin: Annotated[
        bool,
        typer.Option("--task-is-origin", help="TASK was typed by a person: recipients may come from it."),
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Go on in the background; print the session's id.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the ledger's entries as they come, then the account, as JSON."),
    ] = False,
) -> None:
    """Run one session: an agent, a policy, a sandbox, a ledger."""
    from agent_runner.cli.interrupting import interruptible

    request = _request(task, policy, workspace, model, task_is_origin=task_is_origin, detach=detach)
    say(f"policy {request.policy_origin}: {request.policy.grant.label}; model {request.backend.model}")
    asking = asking_rules(request.policy)
    if request.headless and asking:
        say(f"nobody can be asked here: {asking} `ask` rules are denials")
    if is_cost_unknown(request.policy, request.backend):
        say("the model has no price in the configuration: `cost_usd` bounds nothing, `tokens` and time do")
    if detach:
        from agent_runner.detach import go_on_alone

        go_on_alone(request.session, request.state, say=typer.echo)
    result = interruptible(_run(request, as_json=as_json))
    typer.echo(account(result, as_json=as_json))
    if result.error is not None and result.status != "interrupted":
        say(f"pairlock: {explain(result.error)}")
    raise typer.Exit(result.exit_code)


async def _run(request: SessionRequest, *, as_json: bool) -> SessionResult:
    from dataclasses import replace

    from agent_runner.answerable import answerable
    from agent_runner.cli.entries import streamed
    from agent_runner.cli.live import LiveWatcher
    from agent_runner.session import run_session

    entries = streamed(request.state, request.session) if as_json else contextlib.nullcontext()
    try:
        async with (
            entries,
            answerable(
                request.session, request.approver, state=request.state, notice=say, alone=True
            ) as asker,
        ):
            return await run_session(replace(request, approver=asker))
    finally:
        if isinstance(request.watcher, LiveWatcher):
            request.watcher.close()
        await request.backend.close()


def _request(  # noqa: PLR0913 - the options of `run`, each once
    task: str,
    policy: str | None,
    workspace: Path | None,
    model: str | None,
    *,
    task_is_origin: bool,
    detach: bool,
) -> SessionRequest:
    from agent_runner.approvals import NobodyApprover
    from agent_runner.cli.live import LiveWatcher, StillAsker, watcher_for_terminal
    from agent_runner.cli.talk import PlainWatcher
    from agent_runner.ids import new_session_id
    from agent_runner.models import choose_backend, configured_webhook, model_reference
    from agent_runner.request import require_task

    require_task(task)
    place = place_for(policy, workspace)
    watcher = PlainWatcher() if detach else watcher_for_terminal()
    request = place.request(task, choose_backend(model, notice=say), watcher)
    asker = place.approver
    if isinstance(watcher, LiveWatcher) and not isinstance(asker, NobodyApprover):
        asker = StillAsker(asker, watcher)
    return replace(
        request,
        # Who detaches can answer from another terminal (`pairlock approve`), else the clock does; not in CI.
        headless=place.headless and not (detach and not os.environ.get("CI")) and not configured_webhook(),
        task_is_origin=task_is_origin or not place.headless,
        approver=NobodyApprover() if detach else asker,
        model_reference=model_reference(model),
        session=new_session_id(),
        may_delegate=True,
    )


def asking_rules(policy: Policy) -> int:
    """Return how many rules of a policy put something before a person, of commands and of the way out."""
    network = policy.network
    return len(policy.commands.ask) + (sum(rule.ask for rule in network.allow) if network else 0)


def is_cost_unknown(policy: Policy, backend: Backend) -> bool:
    """Say whether a policy bounds, in its own words, the cost of a model's server that has no price."""
    from agent_runner.backends.backend import PricedBackend, is_priced

    named = "cost_usd" in policy.budget.model_fields_set
    return named and isinstance(backend, PricedBackend) and not is_priced(backend)


def account(result: SessionResult, *, as_json: bool) -> str:
    """Return a session's account, for a person or for a program."""
    from agent_runner.account import account_json, account_lines

    return account_json(result) if as_json else "\n".join(account_lines(result))
