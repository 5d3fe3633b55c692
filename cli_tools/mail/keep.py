"""Declare what puts mail somewhere: `mail save`, an attachment into the workspace, and `mail move`."""

from __future__ import annotations

from typing import Final

import click

from cli_tools import said
from cli_tools.command import Command, Outcome, Surroundings, WorkspacePath, command
from cli_tools.files import answer
from cli_tools.mail.client import READS, mailbox
from cli_tools.mail.folders import folder_id
from cli_tools.mail.parameters import ID, MESSAGE, Folder
from cli_tools.neutral import field


@command(
    "mail save",
    needs=READS,
    runs="connector",
    parameters=(
        MESSAGE,
        click.Argument(["attachment"], type=ID),
        click.Argument(["path"], type=WorkspacePath("write")),
    ),
    examples=("mail save AAMkAGI2TG93AAA= AAMkAGI2TG94BBB= invoices/may.pdf",),
)
async def save(surroundings: Surroundings, *, message: str, attachment: str, path: str) -> Outcome:
    """Save an attachment as a file of the workspace; folders are made as needed."""
    async with mailbox(surroundings) as box:
        content = await box.content(f"messages/{message}/attachments/{attachment}/$value")
    reply = await surroundings.sandbox.call(
        "files.write", {**answer.named(path), "create_parents": True}, body=content
    )
    text = f"saved {field(path)}, {len(content)} bytes\n"
    return Outcome(exit_code=0, text=text, files=(answer.written(path, reply.result),))


@command(
    "mail move",
    needs=READS,
    runs="connector",
    parameters=(
        MESSAGE,
        click.Option(["--folder"], type=Folder(), required=True, help="Where to: a folder's name."),
    ),
    sinks={"folder": "text"},
    examples=("mail move AAMkAGI2TG93AAA= --folder archive",),
)
async def move(surroundings: Surroundings, *, message: str, folder: str) -> Outcome:
    """Move a message to a folder of the mailbox; it has a new id there."""
    async with mailbox(surroundings) as box:
        where = await folder_id(box, folder)
        moved = await box.post(f"messages/{message}/move", {"destinationId": where})
    number = said.shown(said.text(moved, "id"), longest=600)
    return Outcome(exit_code=0, text=f"moved to {said.shown(folder)}; its id is {number}\n")


COMMANDS: Final[tuple[Command, ...]] = (save, move)
