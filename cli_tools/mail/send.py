"""Declare what sends mail: `mail send`, `mail reply`, `mail draft`; the recipients are named each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli_tools import said
from cli_tools.command import Command, Outcome, Surroundings, command
from cli_tools.errors import ActionError, UsageError
from cli_tools.mail.client import AS_TEXT, READS, SENDS, mailbox
from cli_tools.mail.parameters import ID, MESSAGE, MOST_RECIPIENTS, SUBJECT, TEXT, TO
from cli_tools.neutral import restore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli_tools.said import Object
    from policies.request import SinkKind

_RECIPIENTS: Final[Mapping[str, SinkKind]] = {"to": "address"}
_COPIES: Final = ("ccRecipients", "bccRecipients")
LONGEST_QUOTE: Final = 100_000
"""Characters of the message that a reply quotes."""


def _text(body: bytes | None) -> str:
    try:
        text = restore(body or b"").decode()
    except UnicodeDecodeError as error:
        raise UsageError("usage", "the message is not UTF-8 text") from error
    if not text.strip():
        raise UsageError("usage", "the message is empty", hint="give `--text`, or a body")
    return text


def _people(to: tuple[str, ...]) -> list[Object]:
    if len(to) > MOST_RECIPIENTS:
        raise UsageError("usage", f"{len(to)} recipients, at most {MOST_RECIPIENTS} are written to at once")
    return [{"emailAddress": {"address": address}} for address in dict.fromkeys(to)]


def _message(to: tuple[str, ...], subject: str, body: bytes | None) -> Object:
    return {
        "subject": subject,
        "body": {"contentType": "Text", "content": _text(body)},
        "toRecipients": _people(to),
    }


@command(
    "mail send",
    needs=SENDS,
    runs="connector",
    parameters=(TO, SUBJECT, TEXT),
    sinks=_RECIPIENTS,
    examples=("mail send --to anna@example.com --subject 'The report' --text 'It is ready.'",),
)
async def send(surroundings: Surroundings, *, to: tuple[str, ...], subject: str) -> Outcome:
    """Send a message; plain text, to the recipients named and to nobody else."""
    message = _message(to, subject, surroundings.body)
    async with mailbox(surroundings) as box:
        await box.post("sendMail", {"message": message, "saveToSentItems": True})
    return Outcome(exit_code=0, text=f"sent to {', '.join(dict.fromkeys(to))}\n")


@command(
    "mail draft",
    needs=SENDS,
    runs="connector",
    parameters=(TO, SUBJECT, TEXT),
    sinks=_RECIPIENTS,
    examples=("mail draft --to anna@example.com --subject 'The report' --text 'It is ready.'",),
)
async def draft(surroundings: Surroundings, *, to: tuple[str, ...], subject: str) -> Outcome:
    """Write a draft into the mailbox, for a person to look at and send."""
    message = _message(to, subject, surroundings.body)
    async with mailbox(surroundings) as box:
        made = await box.post("messages", message)
    number = said.shown(said.text(made, "id"), longest=600)
    return Outcome(exit_code=0, text=f"drafted to {', '.join(dict.fromkeys(to))}; its id is {number}\n")


@command(
    "mail reply",
    needs=READS,
    runs="connector",
    parameters=(MESSAGE, TO, TEXT),
    sinks=_RECIPIENTS,
    examples=("mail reply AAMkAGI2TG93AAA= --to anna@example.com --text 'Thank you.'",),
)
async def reply(surroundings: Surroundings, *, message: str, to: tuple[str, ...]) -> Outcome:
    """Reply to a message, which is quoted below; to the recipients named, not to whom the message names."""
    text, people = _text(surroundings.body), _people(to)
    async with mailbox(surroundings) as box:
        made = await box.post(f"messages/{message}/createReply")
        number = _draft_id(made)
        quoted = await box.get(f"messages/{number}", {"$select": "body"}, AS_TEXT)
        written = await box.patch(f"messages/{number}", _rewritten(text, quoted, people))
        _require_recipients(written, to)
        await box.post(f"messages/{number}/send")
    return Outcome(exit_code=0, text=f"replied to {', '.join(dict.fromkeys(to))}\n")


def _draft_id(made: Object) -> str:
    number = said.text(made, "id")
    if not ID.fits(number):
        raise ActionError("upstream", "the mail server made a draft without an id")
    return number


def _rewritten(text: str, quoted: Object, people: list[Object]) -> Object:
    """Return what is written over the draft: text, and the recipients that were named.

    The server's own way, a `comment`, goes into a body of HTML, where it could load a picture from anywhere.
    """
    below = said.text(quoted, "body", "content").replace("\r\n", "\n").strip("\n")
    cut = below if len(below) <= LONGEST_QUOTE else f"{below[:LONGEST_QUOTE]}\n[…]"
    content = f"{text}\n\n{cut}" if cut else text
    return {
        "body": {"contentType": "Text", "content": content},
        "toRecipients": people,
        **{name: [] for name in _COPIES},
    }


def _require_recipients(written: Object, to: tuple[str, ...]) -> None:
    """Return if the draft goes to exactly these. INVARIANT: nothing is sent to whom nobody named."""
    found = {
        said.text(person, "emailAddress", "address").lower()
        for name in ("toRecipients", *_COPIES)
        for person in said.members(written, name)
    }
    if found != set(to):
        raise ActionError(
            "upstream",
            f"the mail server addressed the reply to {said.shown(', '.join(sorted(found)) or 'nobody')}",
            hint="it lies among the drafts, and was not sent",
        )


COMMANDS: Final[tuple[Command, ...]] = (send, reply, draft)
