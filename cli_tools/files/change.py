"""Declare what changes whole files: `files write`, `files move`, `files remove`."""

from __future__ import annotations

from typing import Final

import click

from cli_tools.command import Body, Command, FileTouched, Outcome, Surroundings, WorkspacePath, command
from cli_tools.errors import UsageError
from cli_tools.files import answer
from cli_tools.files.look import NEEDS
from cli_tools.neutral import field, restore


@command(
    "files write",
    needs=NEEDS,
    parameters=(
        click.Argument(["path"], type=WorkspacePath("write")),
        click.Option(["--content"], type=Body(needed=True), help="The whole new content."),
    ),
    examples=("files write notes.txt --content 'one line'",),
)
async def write_file(surroundings: Surroundings, *, path: str) -> Outcome:
    """Write a file of the workspace: its whole content; folders are made as needed."""
    if surroundings.body is None:
        raise UsageError("usage", "`files write` needs content", hint="give `--content`, or a body")
    content = restore(surroundings.body)
    reply = await surroundings.sandbox.call(
        "files.write", {**answer.named(path), "create_parents": True}, body=content
    )
    verb = "created" if reply.result.get("created") else "replaced"
    text = f"{verb} {field(path)}, {len(content)} bytes\n"
    return Outcome(exit_code=0, text=text, files=(answer.written(path, reply.result),))


@command(
    "files move",
    needs=NEEDS,
    parameters=(
        click.Argument(["path"], type=WorkspacePath("write")),
        click.Argument(["to"], type=WorkspacePath("write")),
        click.Option(["--replace"], is_flag=True, help="Replace what is at the new place."),
    ),
    examples=("files move notes.txt docs/notes.txt",),
)
async def move_file(surroundings: Surroundings, *, path: str, to: str, replace: bool) -> Outcome:
    """Move a file, or without `access: direct` a folder; folders are made, nothing is replaced by itself."""
    await surroundings.sandbox.call(
        "files.move",
        {**answer.named(path), **answer.named(to, name="to"), "replace": replace, "create_parents": True},
    )
    moved = (FileTouched(path=path, access="moved", moved_to=to),)
    return Outcome(exit_code=0, text=f"moved {field(path)} to {field(to)}\n", files=moved)


@command(
    "files remove",
    needs=NEEDS,
    parameters=(
        click.Argument(["path"], type=WorkspacePath("write")),
        click.Option(
            ["--recursive"], is_flag=True, help="A folder with all in it; not with `access: direct`."
        ),
    ),
    examples=("files remove notes.txt", "files remove build --recursive"),
)
async def remove_file(surroundings: Surroundings, *, path: str, recursive: bool) -> Outcome:
    """Remove a file or an empty folder; a folder that is not empty with `--recursive` only."""
    reply = await surroundings.sandbox.call("files.remove", {**answer.named(path), "recursive": recursive})
    count = answer.number(reply.result, "removed")
    text = f"removed {field(path)}, {count} entries\n" if count > 1 else f"removed {field(path)}\n"
    return Outcome(exit_code=0, text=text, files=(FileTouched(path=path, access="removed"),))


COMMANDS: Final[tuple[Command, ...]] = (write_file, move_file, remove_file)
