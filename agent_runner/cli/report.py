"""Make a page of a session, or hand such pages out on this machine: `pairlock audit report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.exits import Exit
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from agent_runner.report.gather import Pins

LARGEST_CHECKPOINT = 65536


def report(
    session: Annotated[
        str, typer.Argument(metavar="[ID]", help="A session's id, its beginning, or `last`.")
    ] = "last",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="The host's public key that you pinned.")] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="A checkpoint that was kept elsewhere.")
    ] = None,
) -> None:
    """Make one page of a session that opens anywhere; exit 6 when its ledger does not verify."""
    from agent_runner.errors import InvalidInputError
    from agent_runner.report.gather import gather_report
    from agent_runner.report.page import render
    from agent_runner.report.quantity import size
    from agent_runner.report.writing import write_page
    from agent_runner.state import session_files, state_folder

    if output is None:
        raise InvalidInputError("no file is named", hint=f"`pairlock audit report {session} -o report.html`")
    pins, state = _pins(key, against), state_folder()
    made = gather_report(state, session_files(session, state).folder.name, pins)
    page = render(made)
    write_page(output, page)
    say(f"wrote {output}, {size(len(page.encode()))}, {made.fold.entries} entries")
    say(f"{made.verdict.headline.lower()}: {made.verdict.verdicts['authenticity']}")
    for name, words in made.verdict.faults.items():
        say(f"pairlock: {name}: {words}")
    if made.verdict.faults:
        raise typer.Exit(Exit.LEDGER)


def _pins(key: str | None, against: Path | None) -> Pins:
    from agent_runner.errors import InvalidInputError
    from agent_runner.report.gather import Pins

    if against is None:
        return Pins(vkey=key)
    if not against.is_file() or against.stat().st_size > LARGEST_CHECKPOINT:
        raise InvalidInputError(f"`{against}` is not a checkpoint: a regular file of at most 64 KiB")
    return Pins(vkey=key, against=against.read_text("utf-8", "replace"))
