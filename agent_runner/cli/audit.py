"""Read the ledger: `pairlock audit list|show|verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.exits import Exit
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from audit.verdict import Verification

app = typer.Typer(
    help="Read the ledger; everything that reads it verifies it on the way.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_sessions(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List the sessions of this machine, oldest first."""
    import json

    from agent_runner.listing import listed
    from agent_runner.state import state_folder
    from audit.escape import escape_line

    found = listed(state_folder())
    if as_json:
        for row in found:
            typer.echo(json.dumps(row.as_json()))
        return
    if not found:
        say("no sessions yet")
    for row in found:
        line = f"{row.session}  {row.started:<19}  {row.grant:<13}  {row.status:<14}  {row.workspace or '-'}"
        typer.echo(escape_line(line))


@app.command("show")
def show(
    session: Annotated[str, typer.Argument(metavar="ID", help="A session, or `last`.")] = "last",
    as_json: Annotated[bool, typer.Option("--json", help="The entries as they stand, one a line.")] = False,
) -> None:
    """Show a session's entries, each verified before it is shown."""
    import json

    from agent_runner.listing import entry_lines
    from agent_runner.state import session_files, state_folder
    from audit.reader import BrokenEntry, SessionReader

    state = state_folder()
    reader = SessionReader(state, session_files(session, state).folder.name)
    for entry in reader.entries():
        if isinstance(entry, BrokenEntry):
            say(f"pairlock: entry {entry.seq} does not hold: {entry.why}")
            raise typer.Exit(Exit.LEDGER)
        if as_json:
            typer.echo(json.dumps({"seq": entry.seq, "at": entry.at, "type": entry.type, "body": entry.body}))
        else:
            for line in entry_lines(reader, entry):
                typer.echo(line)


@app.command("verify")
def verify(
    session: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A session; `last` when absent.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="The host's log and every session in it.")] = False,
    key: Annotated[str | None, typer.Option("--key", help="The host's public key that you pinned.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a log.")] = False,
) -> None:
    """Verify the ledger; five verdicts for each log, exit 6 when one is bad."""
    from agent_runner.state import session_files, state_folder
    from audit.verify import verify_all, verify_session

    state = state_folder()
    if every:
        found = list(verify_all(state, pinned_vkey=key))
    else:
        name = session_files(session or "last", state).folder.name
        found = [verify_session(state, name, pinned_vkey=key)]
    bad = 0
    for verification in found:
        bad += bool(verification.faults())
        typer.echo(_as_json(verification) if as_json else _as_text(verification))
    if bad:
        raise typer.Exit(Exit.LEDGER)


def _as_text(verification: Verification) -> str:
    verdict = "DOES NOT VERIFY" if verification.faults() else "verifies"
    lines = [f"{name:<14}{words}" for name, words in verification.verdicts().items()]
    return "\n".join([f"{verification.log}  {verdict}", *(f"  {line}" for line in lines)])


def _as_json(verification: Verification) -> str:
    import json

    return json.dumps(
        {"log": verification.log, "verifies": not verification.faults(), **verification.verdicts()}
    )
