"""Declare what reads in Slack: `slack channels`, `slack history`, `slack search`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cli_tools import said
from cli_tools.command import Command, Outcome, Surroundings, command
from cli_tools.limit import limit_option
from cli_tools.slack.client import PAGE, READS, asked, channel_id, client, pages
from cli_tools.slack.parameters import CHANNEL, MOMENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cli_tools.said import Object

_LONGEST_TEXT: Final = 8000
_SEARCH_PAGE: Final = 100


@command(
    "slack channels",
    needs=READS,
    runs="connector",
    parameters=(limit_option(1000, 200),),
    examples=("slack channels", "slack channels --limit 50"),
)
async def channels(surroundings: Surroundings, *, limit: int) -> Outcome:
    """List the channels that the operator's credential sees: id, name, members, purpose."""
    web = await client(surroundings)
    listed = pages(
        web,
        "conversations.list",
        "channels",
        limit=min(limit + 1, PAGE),
        types="public_channel,private_channel",
        exclude_archived="true",
    )
    found, more = await _first(listed, limit)
    return Outcome(exit_code=0, text="".join(map(_channel, found)) or "no channel\n", note=_note(more, limit))


@command(
    "slack history",
    needs=READS,
    runs="connector",
    parameters=(
        CHANNEL,
        click.Option(["--thread"], type=MOMENT, help="Show the replies to this message alone."),
        click.Option(["--before"], type=MOMENT, help="Only what is older than this moment."),
        limit_option(500, 50),
    ),
    examples=(
        "slack history --channel '#ci'",
        "slack history --channel C0123456789 --thread 1732250000.000100",
    ),
)
async def history(
    surroundings: Surroundings, *, channel: str, thread: str | None, before: str | None, limit: int
) -> Outcome:
    """Show messages of a channel, newest first, or a thread, oldest first: moment, author, text."""
    web = await client(surroundings)
    given: dict[str, object] = {"channel": await channel_id(web, channel), "limit": min(limit + 1, PAGE)}
    if before is not None:
        given["latest"] = before
    if thread is not None:
        given["ts"] = thread
    method = "conversations.history" if thread is None else "conversations.replies"
    found, more = await _first(pages(web, method, "messages", **given), limit)
    return Outcome(exit_code=0, text="".join(map(_message, found)) or "no message\n", note=_note(more, limit))


@command(
    "slack search",
    needs=READS,
    runs="connector",
    parameters=(
        click.Argument(["query"]),
        click.Option(["--oldest-first"], is_flag=True, help="Oldest first, in place of newest first."),
        limit_option(_SEARCH_PAGE, 20),
    ),
    examples=("slack search 'deploy failed in:#ci'",),
)
async def search(surroundings: Surroundings, *, query: str, oldest_first: bool, limit: int) -> Outcome:
    """Search the messages that the operator's credential sees, in Slack's own search language."""
    web = await client(surroundings)
    order = "asc" if oldest_first else "desc"
    data = await asked(
        web.search_messages(query=query, count=limit, sort="timestamp", sort_dir=order, highlight=False)
    )
    found = said.members(data, "messages", "matches")[:limit]
    total = said.count(said.member(data, "messages"), "total")
    note = f"{total} messages match; the first {len(found)} are shown" if total > len(found) else ""
    return Outcome(exit_code=0, text="".join(map(_match, found)) or "no message matches\n", note=note)


async def _first(listed: AsyncIterator[Object], limit: int) -> tuple[list[Object], bool]:
    """Return the first members, and whether there are more; no page is asked for that is not needed."""
    found: list[Object] = []
    async for each in listed:
        if len(found) == limit:
            return found, True
        found.append(each)
    return found, False


def _note(more: bool, limit: int) -> str:  # noqa: FBT001 - what `_first` found
    return f"there are more than {limit}; a larger `--limit` shows them" if more else ""


def _channel(each: Object) -> str:
    private = " private" if each.get("is_private") is True else ""
    purpose = said.text(each, "purpose", "value")
    about = f"  {said.shown(purpose)}" if purpose else ""
    name = f"{said.shown(said.text(each, 'id'))}  #{said.shown(said.text(each, 'name'))}"
    return f"{name}  {said.count(each, 'num_members')}{private}{about}\n"


def _message(each: Object) -> str:
    replies = said.count(each, "reply_count")
    thread = f"  {replies} replies" if replies else ""
    return f"{said.shown(said.text(each, 'ts'))}  {_author(each)}{thread}{_files(each)}\n{_text(each)}\n"


def _match(each: Object) -> str:
    where = said.text(each, "channel", "id"), said.text(each, "channel", "name")
    place = f"{said.shown(where[0])} #{said.shown(where[1])}"
    return f"{said.shown(said.text(each, 'ts'))}  {place}  {_author(each)}\n{_text(each)}\n"


def _author(each: Object) -> str:
    name = said.text(each, "username") or said.text(each, "user") or said.text(each, "bot_id")
    return said.shown(name) or "unknown"


def _files(each: Object) -> str:
    names = ", ".join(said.shown(said.text(found, "name")) for found in said.members(each, "files"))
    return f"  files: {names}" if names else ""


def _text(each: Object) -> str:
    text = said.text(each, "text")
    cut = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
    return said.indented(cut)


COMMANDS: Final[tuple[Command, ...]] = (channels, history, search)
