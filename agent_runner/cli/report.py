"""Make a page of a session, or hand such pages out on this machine: `pairlock audit report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.audit_session import read_checkpoint
from agent_runner.cli.exits import Exit
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from agent_runner.report.gather import Pins


def report(  # noqa: PLR0913, PLR0917 - typer makes an option of each
    session: Annotated[
        str, typer.Argument(metavar="ID", help="A session's id, its beginning, or `last`.")
    ] = "last",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="The host's public key that you pinned.")] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="A checkpoint that was kept elsewhere.")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Hand out every session's page on this machine until Ctrl-C.")
    ] = False,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Where, with --serve.")] = None,
) -> None:
    """Make one page of a session that opens anywhere; exit 6 when its ledger does not verify."""
    from agent_runner.errors import InvalidInputError
    from agent_runner.report.gather import gather_report
    from agent_runner.report.kin import related, written_beside
    from agent_runner.report.page import render
    from agent_runner.report.quantity import size
    from agent_runner.report.writing import write_page
    from agent_runner.state import session_files, state_folder
    from audit.escape import escape_line

    if serve:
        _serve(_pins(key, against), port or 0, output)
        return
    if port is not None:
        raise InvalidInputError("`--port` goes with `--serve`", hint="leave it out, or add `--serve`")
    if output is None:
        raise InvalidInputError("no file is named", hint=f"`pairlock audit report {session} -o report.html`")
    pins, state = _pins(key, against), state_folder()
    made = gather_report(state, session_files(session, state).folder.name, pins)
    page = render(made, kin=written_beside(related(made.fold), output, session=made.session))
    write_page(output, page)
    say(escape_line(f"wrote {output}, {size(len(page.encode()))}, {made.fold.entries} entries"))
    signed = "" if made.verdict.faults else f": {made.verdict.verdicts['authenticity']}"
    say(escape_line(f"{made.verdict.headline.lower()}{signed}"))
    for name, words in made.verdict.faults.items():
        say(escape_line(f"pairlock: {name}: {words}"))
    if made.verdict.faults:
        raise typer.Exit(Exit.LEDGER)


def _serve(pins: Pins, port: int, output: Path | None) -> None:
    from agent_runner.cli.interrupting import interruptible
    from agent_runner.errors import InvalidInputError
    from agent_runner.state import state_folder

    if output is not None:
        raise InvalidInputError("`--serve` writes no file", hint="leave `-o` out, or `--serve`")
    interruptible(_served(state_folder(), pins, port))


async def _served(state: Path, pins: Pins, port: int) -> None:
    """Serve until somebody ends it, which is how it is meant to end."""
    import asyncio

    from agent_runner.report.serving.server import ReportServer

    server = ReportServer(state, pins, say=say)
    door = await server.open(port)
    try:
        typer.echo(door.address)
        say("this address opens the reports of every session, on this machine only; Ctrl-C ends it")
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        say("ended")
    finally:
        await server.close()


def _pins(key: str | None, against: Path | None) -> Pins:
    from agent_runner.report.gather import Pins

    return Pins(vkey=key, against=read_checkpoint(against) if against else None)
