"""Declare `slack upload`: a file of the workspace goes to a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cli_tools import said
from cli_tools.command import Command, FileTouched, Outcome, Surroundings, WorkspacePath, command
from cli_tools.errors import ActionError
from cli_tools.files.whole import whole_file
from cli_tools.neutral import field
from cli_tools.slack.client import READS, asked, channel_id, client
from cli_tools.slack.parameters import CHANNEL, MOMENT
from cli_tools.slack.say import message, said_plainly

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient

LARGEST_BYTES: Final = 16 * 1024 * 1024


@command(
    "slack upload",
    needs=READS,
    runs="connector",
    parameters=(
        CHANNEL,
        click.Option(["--thread"], type=MOMENT, help="Put it in this message's thread."),
        click.Option(["--comment"], help="A message after the file; plain text."),
        click.Argument(["path"], type=WorkspacePath("read")),
    ),
    sinks={"channel": "channel"},
    examples=("slack upload --channel '#ci' report.txt",),
)
async def upload(
    surroundings: Surroundings, *, channel: str, thread: str | None, comment: str | None, path: str
) -> Outcome:
    """Upload a file of the workspace to a channel; a comment is a message after it."""
    text = None if comment is None else message(comment.encode())
    content, digest = await whole_file(surroundings.sandbox, path, most_bytes=LARGEST_BYTES)
    web = await client(surroundings)
    where = await channel_id(web, channel)
    data = await asked(
        web.files_upload_v2(
            channel=where,
            filename=path.rpartition("/")[2],
            content=content,
            thread_ts=thread,
        )
    )
    note = "" if text is None else await _comment(web, where, text, thread)
    found = ", ".join(said.shown(said.text(each, "id")) for each in said.members(data, "files"))
    touched = FileTouched(path=path, access="read", sha256_after=digest)
    told = f"uploaded {field(path)}, {len(content)} bytes, to {where} as {found}\n"
    return Outcome(exit_code=0, text=told, note=note, files=(touched,))


async def _comment(web: AsyncWebClient, channel: str, text: str, thread: str | None) -> str:
    """Post the message after a file, and return why that failed: the file is there all the same.

    Never with the file: there Slack cannot be told to fetch no link of it.
    """
    try:
        await asked(said_plainly(web, channel, text, thread))
    except ActionError as error:
        return f"the file is uploaded, its comment is not posted ({error.code}): {error.message}"
    return ""


COMMANDS: Final[tuple[Command, ...]] = (upload,)
