"""Declare what reads a mailbox: `mail list`, `mail search`, `mail read`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cli_tools import said
from cli_tools.command import Command, Outcome, Surroundings, command
from cli_tools.limit import limit_option
from cli_tools.mail.client import AS_TEXT, PAGE, READS, mailbox
from cli_tools.mail.folders import folder_id
from cli_tools.mail.parameters import MESSAGE, Folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cli_tools.said import Object

_SUMMARY: Final = "id,subject,from,receivedDateTime,isRead,hasAttachments"
_WHOLE: Final = f"{_SUMMARY},toRecipients,ccRecipients,replyTo,body"


@command(
    "mail list",
    needs=READS,
    runs="connector",
    parameters=(
        click.Option(["--folder"], type=Folder(), default="inbox", help="A folder's name."),
        click.Option(["--unread"], is_flag=True, help="Only what has not been read."),
        limit_option(200, 25),
    ),
    examples=("mail list", "mail list --folder archive --unread"),
)
async def list_mail(surroundings: Surroundings, *, folder: str, unread: bool, limit: int) -> Outcome:
    """List messages of a folder, newest first: id, date, sender, subject."""
    query = {"$select": _SUMMARY, "$orderby": "receivedDateTime desc"}
    if unread:
        # Graph wants the property that is sorted by to stand first in the filter.
        query["$filter"] = "receivedDateTime ge 1900-01-01T00:00:00Z and isRead eq false"
    async with mailbox(surroundings) as box:
        where = await folder_id(box, folder)
        listed = box.pages(f"mailFolders/{where}/messages", query, size=min(limit + 1, PAGE))
        return await _shown(listed, limit)


@command(
    "mail search",
    needs=READS,
    runs="connector",
    parameters=(click.Argument(["query"]), limit_option(200, 25)),
    examples=("mail search 'subject:invoice from:anna'",),
)
async def search(surroundings: Surroundings, *, query: str, limit: int) -> Outcome:
    """Search the mailbox, in its own search language: id, date, sender, subject."""
    words = query.replace("\\", "\\\\").replace('"', '\\"')
    async with mailbox(surroundings) as box:
        asked = {"$select": _SUMMARY, "$search": f'"{words}"'}
        return await _shown(box.pages("messages", asked, size=min(limit + 1, PAGE)), limit)


@command(
    "mail read",
    needs=READS,
    runs="connector",
    parameters=(MESSAGE,),
    examples=("mail read AAMkAGI2TG93AAA=",),
)
async def read(surroundings: Surroundings, *, message: str) -> Outcome:
    """Read one message: head, text, and its attachments with their ids."""
    async with mailbox(surroundings) as box:
        found = await box.get(f"messages/{message}", {"$select": _WHOLE}, AS_TEXT)
        attached: list[Object] = []
        if found.get("hasAttachments") is True:
            listed = box.pages(f"messages/{message}/attachments", {"$select": "id,name,contentType,size"})
            attached = [each async for each in listed]
    lines = [
        f"from     {_address(said.member(found, 'from'))}",
        f"to       {_addresses(found, 'toRecipients')}",
        *([f"cc       {_addresses(found, 'ccRecipients')}"] if said.members(found, "ccRecipients") else []),
        *([f"reply to {_addresses(found, 'replyTo')}"] if said.members(found, "replyTo") else []),
        f"date     {said.shown(said.text(found, 'receivedDateTime'))}",
        f"subject  {said.shown(said.text(found, 'subject'))}",
        *map(_attachment, attached),
        "",
        said.indented(said.text(found, "body", "content"), by=""),
    ]
    return Outcome(exit_code=0, text="\n".join(lines) + "\n")


async def _shown(listed: AsyncIterator[Object], limit: int) -> Outcome:
    """Lay out the first messages, and say whether there are more; no page is asked for that is not needed."""
    lines: list[str] = []
    more = False
    async for each in listed:
        if len(lines) == limit:
            more = True
            break
        lines.append(_line(each))
    note = f"there are more than {limit}; a larger `--limit` shows them" if more else ""
    return Outcome(exit_code=0, text="".join(lines) or "no message\n", note=note)


def _line(each: Object) -> str:
    marks = "" if each.get("isRead") is True else "  unread"
    marks += "  attachments" if each.get("hasAttachments") is True else ""
    date, sender = said.shown(said.text(each, "receivedDateTime")), _address(said.member(each, "from"))
    subject = said.shown(said.text(each, "subject")) or "(no subject)"
    return f"{said.shown(said.text(each, 'id'), longest=600)}\n    {date}  {sender}{marks}\n    {subject}\n"


def _address(person: Object) -> str:
    """Return an address, and apart from it the name, which its owner chose and may look like another."""
    address = said.shown(said.text(person, "emailAddress", "address")) or "unknown"
    name = said.shown(said.text(person, "emailAddress", "name"))
    return f"{address} ({name})" if name and name != address else address


def _addresses(found: Object, name: str) -> str:
    return ", ".join(_address(person) for person in said.members(found, name)) or "nobody"


def _attachment(each: Object) -> str:
    facts = f"{said.shown(said.text(each, 'contentType'))}, {said.count(each, 'size')} bytes"
    name, number = said.shown(said.text(each, "name")), said.shown(said.text(each, "id"), longest=600)
    return f"attached {name} ({facts}): {number}"


COMMANDS: Final[tuple[Command, ...]] = (list_mail, search, read)
