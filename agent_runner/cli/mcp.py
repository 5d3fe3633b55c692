"""Serve a policy's commands to clients of the Model Context Protocol: `pairlock tools mcp`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agent_runner.cli.place import place_for
from agent_runner.cli.talk import say
from agent_runner.cli.tools import PolicyOption  # noqa: TC001 - typer reads it

if TYPE_CHECKING:
    from agent_runner.backends.backend import Backend
    from agent_runner.place import Place
    from agent_runner.request import SessionRequest, SessionResult
    from agent_runner.transcript import Watcher

TOKEN_VARIABLE: Final = "PAIRLOCK_MCP_TOKEN"  # noqa: S105 - a variable's name
TASK: Final = "tools, called by a client of the Model Context Protocol"


def mcp(
    policy: PolicyOption = None,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", help="The folder; the current one if the policy has files."),
    ] = None,
    http: Annotated[
        int | None,
        typer.Option("--http", min=0, max=65535, help="Serve HTTP on this port of loopback; 0 finds one."),
    ] = None,
) -> None:
    """Serve the commands that a policy offers as MCP tools, each client in a sandbox of its own.

    Over stdin and stdout, or with --http over streamable HTTP on loopback: then each request brings a token,
    from PAIRLOCK_MCP_TOKEN or made anew and told on stderr.
    """
    from agent_runner.cli.interrupting import interruptible
    from agent_runner.commands import known_commands
    from agent_runner.mcp.caller import Caller
    from agent_runner.mcp.door import announced, checked_token, listening, serve_http
    from agent_runner.mcp.serving import Callers, offered, serve_stdio, server_for

    place = place_for(policy, workspace)
    callers = Callers(lambda: Caller(lambda b, w: _request(place, b, w), model="an MCP client"), _told)
    server = server_for(offered(place.loaded.policy, place.catalogue or known_commands()), callers)
    if http is None:
        interruptible(serve_stdio(server, callers))
        return
    given = os.environ.get(TOKEN_VARIABLE, "")
    token = checked_token(given)
    with listening(http) as at:
        typer.echo(announced(at.getsockname()[1]))
        say(f"token: from {TOKEN_VARIABLE}" if given else f"token: {token}")
        interruptible(serve_http(server, callers, at, token))


def _request(place: Place, backend: Backend, watcher: Watcher) -> SessionRequest:
    from agent_runner.approvals import NobodyApprover

    request = place.request(TASK, backend, watcher)
    return replace(request, headless=True, approver=NobodyApprover(), may_repeat=True)


def _told(result: SessionResult) -> None:
    from agent_runner.account import changes_line

    changes = changes_line(result)
    say(f"session {result.session}: {result.reason or result.status}{changes and f'; {changes}'}")
