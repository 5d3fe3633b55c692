"""Open the `slack` commands: both real gates, Slack's own client, and a server on loopback."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from agent_runner.connectors_configured import ConfiguredConnectors, SlackServer
from policies.hosts import HostPattern
from tests.cli_tools.answering import TOKEN, Opened, Request, Served, opened, served
from tests.cli_tools.door import Door, open_door
from tests.cli_tools.slack.slack_server import Slack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.sandbox.egress.ground import Authority

BOTH = """version: 1
name: x
grant: [files, network]
network: {allow: []}
commands:
  allow: ["slack *"]
  rules:
    - {command: slack post, arguments: {channel: ["#ci"]}}
    - {command: slack reply, arguments: {channel: ["#ci"]}}
    - {command: slack react, arguments: {channel: ["#ci"]}}
    - {command: slack upload, arguments: {channel: ["#ci"]}}
"""
NETWORK = """version: 1
name: x
grant: [network]
network: {allow: []}
commands: {allow: ["slack *"]}
"""


@dataclass
class Stand:
    """A door, and the Slack behind it."""

    door: Door
    slack: Slack
    server: Served
    opened: Opened


def configured(port: int) -> ConfiguredConnectors:
    return ConfiguredConnectors(
        slack=SlackServer(
            base_url=f"https://127.0.0.1:{port}/api",
            credential="slack",
            private=True,
            upload_hosts=(HostPattern.parse("127.0.0.1"),),
        )
    )


@contextlib.asynccontextmanager
async def standing(
    place: Path,
    authority: Authority,
    policy: str = BOTH,
    *,
    answering: Slack | None = None,
    token: str = TOKEN,
    **door: object,
) -> AsyncIterator[Stand]:
    """Open everything."""
    workspace = answering or Slack()
    async with served(workspace, authority) as server:
        workspace.port = server.port
        reads = "files" in policy.partition("grant")[2].partition("]")[0]
        async with (
            opened(configured(server.port), "slack", authority, reads=reads, token=token) as connected,
            open_door(place, policy, connectors=connected.connectors, **door) as door_open,  # type: ignore[arg-type]
        ):
            yield Stand(door_open, workspace, server, connected)


@dataclass
class Hostile(Slack):
    """A Slack that answers one method with anything."""

    to: str = ""
    answer: object = None

    def __call__(self, request: Request) -> web.Response:
        """Answer."""
        if request.path.endswith(self.to):
            return web.json_response(self.answer)
        return super().__call__(request)
