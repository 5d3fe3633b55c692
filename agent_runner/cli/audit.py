"""Read the ledger: `pairlock audit list|show|tail|query|verify|proof|export|schema|redact|prune`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli import keys
from agent_runner.cli.exits import Exit
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from audit.chain import Entry
    from audit.reader import BrokenEntry, SessionReader
    from audit.verdict import Verification

app = typer.Typer(
    help="Read the ledger; everything that reads it verifies it on the way.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(keys.app, name="key")
Session = Annotated[str, typer.Argument(metavar="ID", help="A session's id, its beginning, or `last`.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def _whole_id(given: str) -> str:
    from agent_runner.state import session_files, state_folder

    return session_files(given, state_folder()).folder.name


@app.command("list")
def list_sessions(as_json: AsJson = False) -> None:
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
def show(session: Session = "last", as_json: AsJson = False) -> None:
    """Show a session's entries, each verified before it is shown."""
    from agent_runner.state import state_folder
    from audit.reader import SessionReader

    reader = SessionReader(state_folder(), _whole_id(session))
    for entry in reader.entries():
        _print(reader, entry, as_json=as_json)


@app.command("tail")
def tail(session: Session = "last", as_json: AsJson = False) -> None:
    """Follow a session's entries as they come, until it ends."""
    import time

    from agent_runner.state import state_folder
    from audit.follow import Follower
    from audit.lock import is_held
    from audit.reader import SessionReader

    name, state = _whole_id(session), state_folder()
    reader, follower = SessionReader(state, name), Follower(state, name)
    while True:
        running = is_held(reader.files.lock)
        for entry in follower.poll():
            _print(reader, entry, as_json=as_json)
        if not running:
            return
        time.sleep(0.2)


def _print(reader: SessionReader, entry: Entry | BrokenEntry, *, as_json: bool) -> None:
    import json

    from agent_runner.listing import entry_lines
    from audit.escape import escape_line
    from audit.reader import BrokenEntry

    if isinstance(entry, BrokenEntry):
        say(f"pairlock: entry {entry.seq} does not hold: {escape_line(entry.why)}")
        raise typer.Exit(Exit.LEDGER)
    if as_json:
        typer.echo(json.dumps({"seq": entry.seq, "at": entry.at, "type": entry.type, "body": entry.body}))
        return
    for line in entry_lines(reader, entry):
        typer.echo(line)


@app.command("query")
def query(  # noqa: PLR0913, PLR0917 - typer makes an option of each
    terms: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TERM...]", help="As in type=action.intended verdict=denied argv~curl."),
    ] = None,
    session: Annotated[str | None, typer.Option("--session", help="Only this session.")] = None,
    since: Annotated[str, typer.Option(help="A time, or how long ago: 90m, 2d.")] = "",
    until: Annotated[str, typer.Option(help="The same.")] = "",
    secret_stdin: Annotated[
        bool, typer.Option("--secret-stdin", help="Where the secret on stdin was replaced.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Search all sessions; `=` is a whole value, `~` a part, `!=` and `!~` the opposite."""
    from agent_runner.state import state_folder
    from audit.keys import redaction_key
    from audit.query import parse_filter, with_secret
    from audit.query import query as search
    from audit.reader import SessionReader
    from audit.state import StateFiles

    state = state_folder()
    wanted = parse_filter(" ".join(terms or ()), since=since, until=until)
    if secret_stdin:
        wanted = with_secret(wanted, sys.stdin.read().rstrip("\n"), redaction_key(StateFiles(state)))
    only = [_whole_id(session)] if session else None
    shown = ""
    for found in search(state, wanted, session_ids=only):
        if found.session != shown and not as_json:
            typer.echo(f"session {found.session}")
        shown = found.session
        _print(SessionReader(state, found.session), found.entry, as_json=as_json)


@app.command("verify")
def verify(
    session: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="A session; `last` when absent."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="The host's log and every session in it.")] = False,
    key: Annotated[str | None, typer.Option("--key", help="The host's public key that you pinned.")] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="A checkpoint that was kept elsewhere."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the ledger; five verdicts for each log, exit 6 when one is bad."""
    from agent_runner.state import state_folder
    from audit.verify import verify_all, verify_session

    state = state_folder()
    note = _checkpoint(against) if against else None
    if every:
        found = list(verify_all(state, pinned_vkey=key, against=note))
    else:
        found = [verify_session(state, _whole_id(session or "last"), pinned_vkey=key, against=note)]
    bad = 0
    for verification in found:
        bad += bool(verification.faults())
        typer.echo(_as_json(verification) if as_json else _as_text(verification))
    if bad:
        raise typer.Exit(Exit.LEDGER)


def _checkpoint(path: Path) -> str:
    """Read a checkpoint that was kept elsewhere: a few lines of text."""
    from agent_runner.errors import InvalidInputError

    if not path.is_file() or path.stat().st_size > 65536:
        raise InvalidInputError(f"`{path}` is not a checkpoint: a regular file of at most 64 KiB")
    return path.read_text("utf-8", "replace")


def _as_text(verification: Verification) -> str:
    verdict = "DOES NOT VERIFY" if verification.faults() else "verifies"
    lines = [f"{name:<14}{words}" for name, words in verification.verdicts().items()]
    return "\n".join([f"{verification.log}  {verdict}", *(f"  {line}" for line in lines)])


def _as_json(verification: Verification) -> str:
    import json

    return json.dumps(
        {"log": verification.log, "verifies": not verification.faults(), **verification.verdicts()}
    )


@app.command("proof")
def proof(
    session: Session,
    entry: Annotated[int, typer.Argument(metavar="N", help="The entry's number, counted from 0.")],
) -> None:
    """Print what ties one entry to the host's signature, without showing the others."""
    from agent_runner.state import state_folder
    from audit.proof import prove

    typer.echo(prove(state_folder(), _whole_id(session), entry).to_json(), nl=False)


@app.command("export")
def export(
    session: Session,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write, a .tar.gz.")],
    without_bodies: Annotated[
        bool, typer.Option("--without-bodies", help="Leave out what was said and shown; it still verifies.")
    ] = False,
) -> None:
    """Write a bundle that verifies on a machine that has only Python."""
    from agent_runner.errors import InvalidInputError
    from agent_runner.state import state_folder
    from audit.bundle import write_bundle

    if output.exists():
        raise InvalidInputError(f"`{output}` exists already")
    write_bundle(state_folder(), [_whole_id(session)], output, bodies=not without_bodies)
    say(f"wrote {output}; to verify it: unpack it, then `python3 bundle/verify.py`")


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a line of the ledger."""
    import json

    from audit.schema import line_schema

    typer.echo(json.dumps(line_schema(), indent=2))


@app.command("redact")
def redact(
    session: Session,
    commitment: Annotated[str, typer.Argument(metavar="DIGEST", help="A commitment, or its first 8 digits.")],
    why: Annotated[str, typer.Option(help="For what reason; it is recorded.")],
) -> None:
    """Delete the value behind a commitment; the entry still proves that there was one."""
    from agent_runner.package import pairlock_version
    from agent_runner.person import who
    from agent_runner.state import state_folder
    from audit import withhold
    from audit.host import HostLog

    name = _whole_id(session)
    with HostLog(state_folder(), writer=pairlock_version()) as log:
        withhold.redact(log, name, commitment, by=who(), why=why)
    typer.echo("withheld")


@app.command("prune")
def prune(
    session: Session,
    why: Annotated[str, typer.Option(help="For what reason; it is recorded.")],
    keep: Annotated[int, typer.Option(min=0, help="How many of the newest files to keep.")] = 0,
) -> None:
    """Delete a session's oldest entries as whole sealed files; the proof of the rest stays."""
    from agent_runner.package import pairlock_version
    from agent_runner.state import state_folder
    from audit import withhold
    from audit.host import HostLog

    name = _whole_id(session)
    with HostLog(state_folder(), writer=pairlock_version()) as log:
        gone = withhold.prune(log, name, why=why, keep_segments=keep)
    typer.echo(f"{gone} entries are gone")
