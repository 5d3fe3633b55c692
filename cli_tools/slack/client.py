"""Speak with Slack through its own client: what it refuses becomes an error that the agent is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from cli_tools import said
from cli_tools.errors import ActionError
from cli_tools.slack.session import ConnectorSession
from policies.capability import Capability

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from aiohttp import ClientSession
    from slack_sdk.web.async_client import AsyncWebClient

    from cli_tools.command import Surroundings
    from cli_tools.said import Object

READS: Final = (Capability.FILES, Capability.NETWORK)
"""What is read in Slack is private."""
POSTS: Final = (Capability.NETWORK,)
PAGE: Final = 200
MOST_PAGES: Final = 50
_IDS: Final = ("C", "G", "D")
_SHORTEST_ID: Final = 9
_HINTS: Final = {
    "channel_not_found": "`slack channels` lists those that the credential sees",
    "not_in_channel": "a person has to invite the app to the channel",
    "missing_scope": "the operator's credential lacks a scope",
    "not_allowed_token_type": "this needs a user's token, and the operator's credential is an app's",
    "invalid_auth": "the operator's credential is not valid",
    "token_expired": "the operator's credential has expired",
    "msg_too_long": "a message has at most 40,000 characters",
    "is_archived": "nothing can be posted in an archived channel",
}


async def client(surroundings: Surroundings) -> AsyncWebClient:
    """Return Slack's client for this session, without any credential: the connector puts it in."""
    from slack_sdk.web.async_client import AsyncWebClient  # noqa: PLC0415 - brings aiohttp, for Slack alone

    connector = await surroundings.connectors.open("slack")
    session = cast("ClientSession", ConnectorSession(connector))
    return AsyncWebClient(base_url=f"{connector.base_url}/", session=session, retry_handlers=[])


async def asked(call: Awaitable[Any]) -> Object:
    """Return what Slack answered to a call.

    Args:
        call: A call of the client's.

    Raises:
        ActionError: When Slack refuses it or answers with something else.
    """
    from slack_sdk.errors import SlackApiError, SlackClientError  # noqa: PLC0415 - as above

    try:
        response = await call
    except SlackApiError as error:
        raise _refused(error.response) from error
    except SlackClientError as error:
        raise ActionError("upstream", f"slack did not do it: {said.shown(str(error))}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # the client trusts what it reads
        raise ActionError("upstream", "slack answered with what cannot be read") from error
    data = getattr(response, "data", None)
    if not isinstance(data, dict):
        raise ActionError("upstream", "slack answered with what is no object")
    return data


def _refused(response: Any) -> ActionError:
    data = getattr(response, "data", None)
    code = said.text(data, "error")
    if not code:
        status = getattr(response, "status_code", None) or getattr(response, "status", "")
        return ActionError("upstream", f"slack answered with status {status} and no reason")
    needed = said.text(data, "needed")
    scope = f", needed is `{said.shown(needed)}`" if needed else ""
    return ActionError("refused", f"slack refused: `{said.shown(code)}`{scope}", hint=_HINTS.get(code, ""))


async def pages(web: AsyncWebClient, method: str, key: str, **parameters: object) -> AsyncIterator[Object]:
    """Give the members of every page of a list, in order.

    Args:
        web: The client.
        method: The Web API's name of the call.
        key: Where a page has its members.
        parameters: Of the call; `limit` is the size of a page.

    Raises:
        ActionError: When Slack refuses a page, or there are more than 50.
    """
    cursor = ""
    for _ in range(MOST_PAGES):
        given = {**parameters, **({"cursor": cursor} if cursor else {})}
        data = await asked(web.api_call(method, http_verb="GET", params=given))
        for each in said.members(data, key):
            yield each
        cursor = said.text(data, "response_metadata", "next_cursor")
        if not cursor:
            return
    raise ActionError("too-many", f"slack has more than {MOST_PAGES} pages of that", hint="name it by its id")


async def channel_id(web: AsyncWebClient, channel: str) -> str:
    """Return the id of the one channel that is meant: an id as it is, a name by looking it up whole.

    Args:
        web: The client.
        channel: `C0123456789`, `#ci` or `ci`.

    Raises:
        ActionError: When no channel that the credential sees has that name, or two have: several workspaces
            of one organisation may have one each.
    """
    if is_id(channel):
        return channel
    name = channel.removeprefix("#").lower()
    listed = pages(
        web,
        "conversations.list",
        "channels",
        limit=PAGE,
        types="public_channel,private_channel",
        exclude_archived="true",
    )
    try:
        ids = {said.text(each, "id") async for each in listed if said.text(each, "name") == name}
    except ActionError as error:
        if error.code != "path":
            raise
        why = f"without `files` no channel is looked up by its name, and `{said.shown(channel)}` is one"
        raise ActionError("capability", why, hint="give the channel's id, as the policy names it") from error
    if len(ids) > 1:
        raise ActionError("refused", f"two channels are called `{said.shown(channel)}`", hint="give its id")
    for found in filter(is_id, ids):
        return found
    raise ActionError(
        "refused", f"slack has no channel `{said.shown(channel)}`", hint=_HINTS["channel_not_found"]
    )


def is_id(channel: str) -> bool:
    """Tell whether this is the id of a channel, a group or a direct message, and no name."""
    return (
        channel.startswith(_IDS)
        and len(channel) >= _SHORTEST_ID
        and channel.isascii()
        and channel.isalnum()
        and channel == channel.upper()
    )
