"""Go on with a session from the command line: `pairlock resume`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.exits import explain
from agent_runner.cli.place import nobody_is_there
from agent_runner.cli.run import account
from agent_runner.cli.talk import Progress, say

if TYPE_CHECKING:
    from agent_runner.approvals import Asker
    from agent_runner.request import SessionResult
    from agent_runner.resume import ResumeRequest


def resume(
    session: Annotated[str, typer.Argument(metavar="ID", help="An id, its beginning, or `last`.")],
    add_budget: Annotated[
        str | None,
        typer.Option(
            "--add-budget",
            help="More: turns=10,tokens=50k,cost_usd=1.50,wall_time=10m; also actions, input_tokens, "
            "output_tokens, cached_tokens, sent_bytes, received_bytes, requests.",
            metavar="WHAT",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Another model than the one it was run with.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the ledger's new entries as they come, then the account.")
    ] = False,
) -> None:
    """Go on with a session that was interrupted, or ran out of its budget."""
    from agent_runner.cli.interrupting import interruptible

    request = _request(session, add_budget, model)
    say(f"resuming session {request.session}; model {request.backend.model}")
    result = interruptible(_resume(request, as_json=as_json))
    typer.echo(account(result, as_json=as_json))
    if result.error is not None and result.status != "interrupted":
        say(f"pairlock: {explain(result.error)}")
    raise typer.Exit(result.exit_code)


async def _resume(request: ResumeRequest, *, as_json: bool) -> SessionResult:
    from contextlib import nullcontext
    from dataclasses import replace

    from agent_runner.answerable import answerable
    from agent_runner.cli.entries import streamed
    from agent_runner.cli.live import LiveWatcher
    from agent_runner.resume import resume_session

    entries = streamed(request.state, request.session) if as_json else nullcontext()
    try:
        async with (
            entries,
            answerable(
                request.session, request.approver, state=request.state, notice=say, alone=True
            ) as asker,
        ):
            return await resume_session(replace(request, approver=asker))
    finally:
        if isinstance(request.watcher, LiveWatcher):
            request.watcher.close()
        await request.backend.close()


def _request(given: str, add_budget: str | None, model: str | None) -> ResumeRequest:
    from agent_runner.approvals import NobodyApprover
    from agent_runner.budget_limits import NOTHING, parse_budget
    from agent_runner.cli.live import LiveWatcher, StillAsker, watcher_for_terminal
    from agent_runner.meta import read_meta
    from agent_runner.models import choose_backend, configured_webhook
    from agent_runner.program_search import search_outside
    from agent_runner.resumable import model_to_go_on_with
    from agent_runner.resume import ResumeRequest
    from agent_runner.state import session_files, state_folder
    from agent_runner.terminal_approver import TerminalApprover

    state = state_folder()
    added = NOTHING if add_budget is None else parse_budget(add_budget)
    files = session_files(given, state)
    reference = model_to_go_on_with(files, model)
    if folder := read_meta(files.folder).workspace:
        search_outside(Path(folder))
    headless = nobody_is_there()
    watcher = watcher_for_terminal()
    asker: Asker = NobodyApprover() if headless else TerminalApprover()
    if isinstance(watcher, LiveWatcher) and not headless:
        asker = StillAsker(asker, watcher)
    return ResumeRequest(
        session=files.folder.name,
        state=state,
        backend=choose_backend(reference, notice=say),
        headless=headless and not configured_webhook(),
        approver=asker,
        watcher=watcher,
        progress=Progress(),
        added=added,
        model_reference=reference,
    )
