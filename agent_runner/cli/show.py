"""Show one session, running or over: `pairlock show`."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_runner.shown import Shown

_MARKS: Final = {"allowed": "ran", "denied": "denied", "needs_approval": "asked"}
_WIDTH: Final = 80


def show(
    session: Annotated[str, typer.Argument(metavar="ID", help="An id, its beginning, or `last`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as one JSON object.")] = False,
) -> None:
    """Show a session: its task, policy, budgets, last actions, the sessions below it, what waits for you."""
    import json

    from agent_runner.shown import shown
    from agent_runner.state import session_files, state_folder

    state = state_folder()
    found = shown(session_files(session, state), state)
    typer.echo(json.dumps(found.as_json()) if as_json else "\n".join(shown_lines(found)))


def shown_lines(found: Shown) -> Iterator[str]:
    """Yield what there is to know, for a person; everything that an agent wrote is escaped."""
    from agent_runner.cli.bars import budget_line
    from agent_runner.counted import counted
    from audit.escape import escape_line

    told = f": {escape_line(found.reason)}" if found.reason not in ("", found.status) else ""
    yield f"session  {found.session}  {found.status}{told}"
    yield from _wrapped("waits", escape_line(found.waits_for and f"for {found.waits_for}"))
    yield from _wrapped("task", escape_line(found.task))
    if found.opened is not None:
        opened = found.opened
        yield f"policy   {escape_line(found.policy)} ({escape_line(opened.policy_origin)}): {opened.grant}"
        yield f"model    {escape_line(opened.model)}"
        if opened.workspace is not None:
            yield f"folder   {escape_line(opened.workspace)}"
        if opened.parent is not None:
            yield f"parent   {escape_line(opened.parent)}"
    for place, state in enumerate(found.budgets):
        yield f"{'' if place else 'budget':<9}{budget_line(state)}"
    yield f"actions  {found.actions} in {counted(found.turns, 'turn')}, {found.denials} denied"
    for action, verdict, line in found.last_actions:
        number = action.rpartition("/")[2]
        yield f"  {escape_line(number):>5}  {_MARKS.get(verdict, verdict):<6}  {escape_line(line)}"
    if found.sent_bytes or found.received_bytes:
        yield f"egress   {found.sent_bytes} bytes sent, {found.received_bytes} received"
    for child, status in found.children:
        yield f"below    {escape_line(child)}  {status}"
    if found.changes:
        yield f"changes  {found.changes} to review: `pairlock diff {found.session}`"
    if found.has_outputs:
        yield f"outputs  kept: `pairlock outputs {found.session}`"
    yield f"ledger   {found.ledger}"


def _wrapped(name: str, text: str) -> Iterator[str]:
    for number, line in enumerate(textwrap.wrap(text, _WIDTH - 9)):
        yield f"{'' if number else name:<9}{line}"
