"""Show, make and remove the images that sessions run on: `pairlock image list|build|accept|remove`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.commands import Group
from agent_runner.cli.talk import Progress, say

if TYPE_CHECKING:
    from agent_runner.images.listing import Row

app = typer.Typer(
    cls=Group,
    help="The images whose programs sessions with `exec` run.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("list")
def list_command(as_json: Json = False) -> None:
    """List the images that pairlock made, that sessions used, and that trusted policies name."""
    import asyncio
    import json

    from agent_runner.state import state_folder

    rows = asyncio.run(_list(state_folder()))
    if as_json:
        typer.echo(json.dumps([row.as_mapping() for row in rows]))
        return
    if not rows:
        say("no image yet; `pairlock image build` makes the starter")
    for row in rows:
        typer.echo(_line(row))


@app.command("build")
def build(  # noqa: PLR0913, PLR0917 - typer makes an option of each
    project: Annotated[
        Path | None,
        typer.Option("--for", metavar="DIR", help="Make an image with what this project's lock files name."),
    ] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="NAME", help="Make an image with a known agent.")
    ] = None,
    version: Annotated[
        str, typer.Option("--agent-version", help="Of the agent, in place of the one that is known.")
    ] = "",
    base: Annotated[
        str, typer.Option("--base", metavar="IMAGE", help="Stand on this image, not on the starter.")
    ] = "",
    index: Annotated[
        list[str] | None,
        typer.Option("--index", metavar="[KIND=]URL", help="A registry, in place of the configured one."),
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="HOST[:PORT]", help="A further host that the build may reach."),
    ] = None,
    dockerfile: Annotated[
        str,
        typer.Option(
            "--unsafe-dockerfile",
            metavar="SHA256",
            help="Build the project's Dockerfile of this digest, in the engine's builder: no sandbox.",
        ),
    ] = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make an image: the starter, one for a project's dependencies (--for), or one with an agent (--agent).

    Packages are installed in a session with network and exec, which sees the named files alone and
    reaches the registries alone. You are shown both before anything is sent.
    """
    from agent_runner.cli.image_building import (
        build_dockerfile_of,
        build_planned,
        build_starter,
        indexes,
        planned,
        show,
    )
    from agent_runner.cli.interrupting import interruptible
    from agent_runner.errors import InvalidInputError
    from agent_runner.images.plan import Sources
    from agent_runner.state import state_folder

    if project is not None and agent is not None:
        raise InvalidInputError("`--for` and `--agent` make two images", hint="build one, then the other")
    if project is None and agent is None:
        if base or index or host or version or dockerfile:
            raise InvalidInputError("`--base`, `--index` and the like need `--for DIR` or `--agent NAME`")
        interruptible(build_starter(state_folder(), as_json=as_json))
        return
    if dockerfile:
        if project is None or base or index or host or version:
            raise InvalidInputError("`--unsafe-dockerfile` goes with `--for DIR` and nothing else")
        interruptible(build_dockerfile_of(project, dockerfile, state_folder(), as_json=as_json))
        return
    plan = planned(
        project, agent, version, Sources(index=indexes(index or []), hosts=tuple(host or ()), base=base)
    )
    show(plan)
    _agreed("build it?", yes=yes)
    interruptible(build_planned(plan, state_folder(), as_json=as_json))


@app.command("accept")
def accept_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As a policy has it.")],
    yes: Yes = False,
) -> None:
    """Let a name stand for the image that it names now, after it has moved."""
    import asyncio

    from agent_runner.state import state_folder

    asyncio.run(_accept(name, state_folder(), yes=yes))


@app.command("remove")
def remove_command(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="A name, or the beginning of an id.")],
    yes: Yes = False,
) -> None:
    """Remove images that pairlock made; no others."""
    import asyncio

    from agent_runner.state import state_folder

    asyncio.run(_remove(names, state_folder(), yes=yes))


async def _list(state: Path) -> tuple[Row, ...]:
    from agent_runner.images.listing import list_images
    from sandbox.docker_engine import DockerEngine

    engine = await DockerEngine.connect()
    try:
        return await list_images(engine, state)
    finally:
        await engine.close()


def _line(row: Row) -> str:
    from audit.escape import escape_line

    size = f"{row.size_bytes / 1e6:.1f} MB" if row.image else "not here"
    newest = {"yes": "newest", "no": "outdated" if row.image else "", "unknown": ""}[row.newest]
    if row.kind == "used" and row.newest == "no" and row.image:
        newest = "moved"
    digest = row.repository_digest or row.image
    return escape_line(
        f"{row.name:<34}  {digest[:90]:<19}  {size:>10}  {newest:<8}  {row.contents}".rstrip(), width=400
    )


def _agreed(question: str, *, yes: bool) -> None:
    """Return if a person agrees.

    Raises:
        InvalidInputError: When nobody can be asked, and `--yes` was not given.
    """
    from agent_runner.errors import InvalidInputError, RefusedError

    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidInputError("nobody can be asked here", hint="look at what is shown, then add `--yes`")
    if not typer.confirm(question, err=True):
        raise RefusedError("nothing was done")


async def _accept(given: str, state: Path, *, yes: bool) -> None:
    from agent_runner.errors import InvalidInputError
    from agent_runner.images.acceptance import accept
    from agent_runner.images.choice import fetched, repository_digest
    from sandbox.docker_engine import DockerEngine
    from sandbox.images.reference import parse_reference
    from sandbox.runtime.record import RecordFile

    reference = parse_reference(given)
    if not reference.moves:
        raise InvalidInputError(f"`{given}` is a digest, which never moves")
    engine = await DockerEngine.connect()
    try:
        details = await fetched(engine, reference, progress=Progress())
        file = RecordFile(state, await engine.engine_id())
        known = next((entry for entry in file.read().known if entry.reference == given), None)
        say(f"{given} is {details.image_id}" + (f", was {known.image}" if known else ""))
        _agreed("accept it?", yes=yes)
        await accept(file, state, given, details.image_id, repository_digest(reference, details))
    finally:
        await engine.close()


async def _remove(names: list[str], state: Path, *, yes: bool) -> None:
    from agent_runner.images.removal import find_own, remove
    from sandbox.docker_engine import DockerEngine
    from sandbox.runtime.record import RecordFile

    engine = await DockerEngine.connect()
    try:
        record = RecordFile(state, await engine.engine_id()).read()
        chosen = list(dict.fromkeys(find_own(record, name) for name in names))
        for name, image in chosen:
            say(f"  {name}  {image}")
        _agreed(f"remove {'it' if len(chosen) == 1 else 'them'}?", yes=yes)
        for name, image in chosen:
            await remove(engine, state, name, image)
            typer.echo(f"removed {name}  {image}")
    finally:
        await engine.close()
