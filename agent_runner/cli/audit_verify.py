"""Verify the ledger, and prove single entries: `pairlock audit verify|proof`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.audit_session import AsJson, Session, read_checkpoint, whole_id
from agent_runner.cli.exits import Exit
from agent_runner.cli.folding import tell
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from audit.verdict import Verification


def verify(
    session: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="A session; `last` when absent."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="The host's log and every session in it.")] = False,
    key: Annotated[str | None, typer.Option("--key", help="The host's public key that you pinned.")] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="A checkpoint that was kept elsewhere."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the ledger, and the workspaces' labels; five verdicts for each log, exit 6 when one is bad."""
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
    note = read_checkpoint(against) if against else None
    if every:
        found = verify_all(state, pinned_vkey=key, against=note)
    else:
        found = iter([verify_session(state, whole_id(session or "last"), pinned_vkey=key, against=note)])
    bad = 0
    for verification in found:
        bad += bool(verification.faults())
        if as_json:
            typer.echo(_as_json(verification))
        else:
            for line in _as_text(verification):
                tell(line, indent=16)
    if bad + _labels(state, as_json=as_json):
        raise typer.Exit(Exit.LEDGER)


def _labels(state: Path, *, as_json: bool) -> int:
    """Compare the workspaces' labels with the host's log; print it, and return how many are bad."""
    import json

    from agent_runner.label_proof import prove_labels
    from audit.escape import escape_line

    proof = prove_labels(state)
    for words in proof.notes:
        say(f"note: {escape_line(words)}")
    if proof.labels or proof.faults:
        verdict = "DOES NOT VERIFY" if proof.faults else "verifies"
        if as_json:
            bad = [*proof.faults]
            typer.echo(json.dumps({"log": "labels", "verifies": not bad, "bad": bad, "labels": proof.labels}))
        else:
            typer.echo("\n".join([f"labels  {verdict}", *(f"  {escape_line(w)}" for w in proof.faults)]))
    return len(proof.faults)


def _as_text(verification: Verification) -> list[str]:
    from audit.escape import escape_line

    verdict = "DOES NOT VERIFY" if verification.faults() else "verifies"
    lines = [f"{name:<14}{escape_line(words)}" for name, words in verification.verdicts().items()]
    return [f"{verification.log}  {verdict}", *(f"  {line}" for line in lines)]


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
