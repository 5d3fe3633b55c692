"""Show, rotate and pin the key that signs the host's log: `pairlock audit key show|rotate|pin`."""

from __future__ import annotations

from typing import Annotated

import typer

from agent_runner.cli.commands import Group
from agent_runner.cli.talk import say

app = typer.Typer(
    cls=Group, help="The key that signs the host's log.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("show")
def show() -> None:
    """Print the host's public key, to be pinned elsewhere."""
    from agent_runner.errors import InvalidInputError
    from agent_runner.state import state_folder
    from audit.keys import host_vkey
    from audit.state import StateFiles

    key = host_vkey(StateFiles(state_folder()))
    if key is None:
        raise InvalidInputError("there is no key yet", hint="the first session makes one")
    typer.echo(str(key))


@app.command("rotate")
def rotate() -> None:
    """Hand the host's log over to a fresh key; the old one vouches for it."""
    from agent_runner.package import pairlock_version
    from agent_runner.state import state_folder
    from audit.host import HostLog

    with HostLog(state_folder(), writer=pairlock_version()) as log:
        fresh = log.rotate()
    typer.echo(str(fresh.verifier))
    say("the old key vouches for it: whoever pinned that one need not do anything")


@app.command("pin")
def pin(
    key: Annotated[
        str, typer.Argument(metavar="VKEY", help="A host's public key, as it came from elsewhere.")
    ],
) -> None:
    """Pin a public key, so that `verify` tells who signed and not only that somebody did."""
    from agent_runner.state import state_folder
    from audit.keys import pin as keep
    from audit.state import StateFiles

    typer.echo(f"pinned {keep(StateFiles(state_folder()), key)}")
