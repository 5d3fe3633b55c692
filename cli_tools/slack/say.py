"""Declare what writes in Slack: `slack post`, `slack reply`, `slack react`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli_tools import said
from cli_tools.command import Body, Command, Outcome, Surroundings, command
from cli_tools.errors import UsageError
from cli_tools.neutral import restore
from cli_tools.slack.client import POSTS, asked, channel_id, client
from cli_tools.slack.parameters import CHANNEL, MOMENT, Emoji

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from slack_sdk.web.async_client import AsyncWebClient

    from policies.request import SinkKind

_TEXT: Final = click.Option(["--text"], type=Body(needed=True), help="The message; plain text.")
_NAMES_CHANNEL: Final[Mapping[str, SinkKind]] = {"channel": "channel"}


def plain(text: str) -> str:
    """Return text as Slack shows it: no mention, link or `<!channel>` can be hidden in it.

    Source: https://docs.slack.dev/messaging/formatting-message-text, "escaping text".
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def message(body: bytes | None) -> str:
    """Return the text of a message from its body.

    Raises:
        UsageError: When it is empty, or not UTF-8.
    """
    try:
        text = restore(body or b"").decode()
    except UnicodeDecodeError as error:
        raise UsageError("usage", "the message is not UTF-8 text") from error
    if not text.strip():
        raise UsageError("usage", "the message is empty", hint="give it some text")
    return plain(text)


def said_plainly(web: AsyncWebClient, channel: str, text: str, thread: str | None) -> Awaitable[Any]:
    """Return the call that posts a text as it is, and lets Slack fetch none of its links.

    Args:
        web: The client.
        channel: Its id or name.
        text: Escaped already.
        thread: The moment of the message that it replies to; None for none.
    """
    # SAFETY: Slack fetches links that it unfolds, which would carry out what a URL says; so it unfolds none.
    return web.chat_postMessage(
        channel=channel,
        text=text,
        thread_ts=thread,
        unfurl_links=False,
        unfurl_media=False,
        link_names=False,
        parse="none",
    )


async def _post(surroundings: Surroundings, channel: str, thread: str | None) -> Outcome:
    text = message(surroundings.body)
    web = await client(surroundings)
    data = await asked(said_plainly(web, channel, text, thread))
    moment, where = said.shown(said.text(data, "ts")), said.shown(said.text(data, "channel"))
    return Outcome(exit_code=0, text=f"posted {moment} in {where}\n")


@command(
    "slack post",
    needs=POSTS,
    runs="connector",
    parameters=(CHANNEL, _TEXT),
    sinks=_NAMES_CHANNEL,
    examples=("slack post --channel '#ci' --text 'the build is green'",),
)
async def post(surroundings: Surroundings, *, channel: str) -> Outcome:
    """Post a message in a channel; plain text, links are not unfolded."""
    return await _post(surroundings, channel, None)


@command(
    "slack reply",
    needs=POSTS,
    runs="connector",
    parameters=(
        CHANNEL,
        click.Option(["--thread"], type=MOMENT, required=True, help="The message to reply to."),
        _TEXT,
    ),
    sinks=_NAMES_CHANNEL,
    examples=("slack reply --channel '#ci' --thread 1732250000.000100 --text 'it is fixed'",),
)
async def reply(surroundings: Surroundings, *, channel: str, thread: str) -> Outcome:
    """Reply to a message in its thread; plain text, links are not unfolded."""
    return await _post(surroundings, channel, thread)


@command(
    "slack react",
    needs=POSTS,
    runs="connector",
    parameters=(
        CHANNEL,
        click.Option(["--message", "moment"], type=MOMENT, required=True, help="The message."),
        click.Option(["--emoji"], type=Emoji(), required=True, help="The emoji's name, as `eyes`."),
    ),
    sinks=_NAMES_CHANNEL,
    examples=("slack react --channel '#ci' --message 1732250000.000100 --emoji eyes",),
)
async def react(surroundings: Surroundings, *, channel: str, moment: str, emoji: str) -> Outcome:
    """Put an emoji on a message."""
    web = await client(surroundings)
    where = await channel_id(web, channel)
    await asked(web.reactions_add(channel=where, timestamp=moment, name=emoji))
    return Outcome(exit_code=0, text=f"put :{emoji}: on {moment} in {where}\n")


COMMANDS: Final[tuple[Command, ...]] = (post, reply, react)
