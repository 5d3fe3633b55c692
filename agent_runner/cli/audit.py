"""Read the ledger: `pairlock audit list|show|tail|query|schema`; the rest of the group is registered here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli import audit_compare, audit_export, audit_verify, audit_withhold, keys, report
from agent_runner.cli.audit_session import AsJson, Session, whole_id
from agent_runner.cli.commands import Group
from agent_runner.cli.entries import print_entry
from agent_runner.cli.folding import tell
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from audit.chain import Entry

app = typer.Typer(
    cls=Group,
    help="Read the ledger; everything that reads it verifies it on the way.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("verify")(audit_verify.verify)
app.command("proof")(audit_verify.proof)
app.command("export")(audit_export.export)
app.command("diff")(audit_compare.diff)
app.command("replay")(audit_compare.replay)
app.command("redact")(audit_withhold.redact)
app.command("prune")(audit_withhold.prune)
app.add_typer(keys.app, name="key")
app.command("report")(report.report)


@app.command("list")
def list_sessions(as_json: AsJson = False) -> None:
    """List the sessions of this machine, oldest first; of each log, only the end is read and verified."""
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
        tell(escape_line(line), indent=14)


@app.command("show")
def show(session: Session = "last", as_json: AsJson = False) -> None:
    """Show a session's entries, each verified before it is shown; exit 6 when one does not hold."""
    from agent_runner.state import state_folder
    from audit.reader import SessionReader

    reader = SessionReader(state_folder(), whole_id(session))
    for entry in reader.entries():
        print_entry(reader, entry, as_json=as_json)


@app.command("tail")
def tail(
    session: Session = "last",
    net: Annotated[bool, typer.Option("--net", help="Only what went through the egress gate.")] = False,
    as_json: AsJson = False,
) -> None:
    """Follow a session's entries as they come, until it ends."""
    from agent_runner.following import follow_session
    from agent_runner.state import state_folder
    from audit.reader import BrokenEntry, SessionReader

    name, state = whole_id(session), state_folder()
    reader = SessionReader(state, name)
    for entry in follow_session(state, name):
        if not net or isinstance(entry, BrokenEntry) or _went_out(entry):
            print_entry(reader, entry, as_json=as_json)


def _went_out(entry: Entry) -> bool:
    """Tell whether an entry is of the egress gate: a connection, a request, or a bound that they reached."""
    limit = entry.body.get("limit") if entry.type == "limit.hit" else ""
    return entry.type.startswith("egress.") or str(limit).startswith("egress.")


@app.command("query")
def query(  # noqa: PLR0913, PLR0917 - typer makes an option of each
    terms: Annotated[
        list[str] | None,
        typer.Argument(metavar="TERM", help="As in type=action.intended verdict=deny argv~curl."),
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
    from audit.index import read_index
    from audit.keys import redaction_key
    from audit.query import parse_filter, with_secret
    from audit.query import query as search
    from audit.reader import SessionReader
    from audit.state import StateFiles
    from policies.wording import nearest, quoted

    state = state_folder()
    wanted = parse_filter(" ".join(terms or ()), since=since, until=until)
    if secret_stdin:
        wanted = with_secret(wanted, sys.stdin.read().rstrip("\n"), redaction_key(StateFiles(state)))
    index, reader = read_index(StateFiles(state)), None
    for found in search(state, wanted, session_ids=[whole_id(session)] if session else None, index=index):
        if reader is None or found.session != reader.session_id:
            reader = SessionReader(state, found.session, index=index)
            if not as_json:
                typer.echo(f"session {found.session}")
        print_entry(reader, found.entry, as_json=as_json, named=True)
    if reader is None:
        say("no entry fits")
        for field in sorted({term.field for term in wanted.terms if not _is_known(term.field)}):
            say(f"hint: no kind of entry has a field `{field}`; `pairlock audit schema` has them all")
        for kind in sorted(
            {term.value for term in wanted.terms if term.field == "type" and not term.contains}
        ):
            if kind not in (kinds := _kinds()):
                near = nearest(kind, kinds)
                mend = f"did you mean `{near}`?" if near else "`pairlock audit schema` has them all"
                say(f"hint: no entry is of the type {quoted(kind)}; {mend}")


def _kinds() -> list[str]:
    from audit.schema import registry

    return sorted({kind for kind, _ in registry()})


def _is_known(field: str) -> bool:
    """Tell whether the format has a field of that name; a dotted one is a path of names."""
    from audit.schema import line_schema

    return field == "any" or set(field.split(".")) <= set(_properties(line_schema()))


def _properties(schema: object) -> Iterator[str]:
    """Yield the name of each property that a JSON Schema tells of, at any depth."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        yield from properties if isinstance(properties, dict) else ()
        for inner in schema.values():
            yield from _properties(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _properties(inner)


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a line of the ledger."""
    import json

    from audit.schema import line_schema

    typer.echo(json.dumps(line_schema(), indent=2))
