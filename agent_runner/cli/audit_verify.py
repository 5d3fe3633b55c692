"""Verify the ledger, and prove single entries: `pairlock audit verify|proof`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.audit_session import AsJson, Session, whole_id
from agent_runner.cli.exits import Exit
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from audit.verdict import Verification


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
    from agent_runner.errors import InvalidInputError
    from agent_runner.state import state_folder
    from audit.escape import escape_line
    from audit.state import openness
    from audit.verify import verify_all, verify_session

    if every and session is not None:
        raise InvalidInputError(f"`--all` and the session `{session}`: give one of them")
    state = state_folder()
    if state.is_dir() and (wide := openness(state)):
        say(f"warning: {escape_line(wide)}: what is verified could be changed while it is read")
    note = _checkpoint(against) if against else None
    if every:
        found = verify_all(state, pinned_vkey=key, against=note)
    else:
        found = iter([verify_session(state, whole_id(session or "last"), pinned_vkey=key, against=note)])
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
    from audit.escape import escape_line

    verdict = "DOES NOT VERIFY" if verification.faults() else "verifies"
    lines = [f"{name:<14}{escape_line(words)}" for name, words in verification.verdicts().items()]
    return "\n".join([f"{verification.log}  {verdict}", *(f"  {line}" for line in lines)])


def _as_json(verification: Verification) -> str:
    import json

    from audit.verdict import Broken

    integrity = verification.integrity
    first = integrity.first if isinstance(integrity, Broken) else None
    faults = verification.faults()
    summary = {"log": verification.log, "verifies": not faults, "bad": [*faults], "first_bad_entry": first}
    return json.dumps({**summary, **verification.verdicts()})


def proof(
    session: Session,
    entry: Annotated[int, typer.Argument(metavar="N", help="The entry's number, counted from 0.")],
) -> None:
    """Print what ties one entry to the host's signature, without showing the others."""
    from agent_runner.state import state_folder
    from audit.proof import prove

    typer.echo(prove(state_folder(), whole_id(session), entry).to_json(), nl=False)
