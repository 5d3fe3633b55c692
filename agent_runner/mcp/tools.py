"""Make commands of the tools of configured MCP servers: typed, with the operator's capabilities and sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from agent_runner.errors import InvalidInputError
from cli_tools.command import Command, Outcome, Surroundings, command
from policies.capability import Capability

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_runner.connectors_configured import McpServer, RemoteTool, ToolArgument
    from cli_tools.action import Catalogue


def remote_commands(servers: Mapping[str, McpServer], known: Catalogue) -> list[Command]:
    """Return the commands of every server: `<server> <tool>`.

    Args:
        servers: The servers by the names of their groups.
        known: The commands that exist already; no server may add to one of their groups.

    Raises:
        InvalidInputError: When a server has the name of a group that exists.
    """
    taken = {command.path[0] for command in known.commands}
    for name in servers:
        if name in taken:
            raise InvalidInputError(
                f"MCP server `{name}` has the name of a group of commands", hint="give it another name"
            )
    return [
        _command(name, server, word, tool)
        for name, server in servers.items()
        for word, tool in server.tools.items()
    ]


def _command(name: str, server: McpServer, word: str, tool: RemoteTool) -> Command:
    remote = tool.tool or word

    async def act(surroundings: Surroundings, **parameters: Any) -> Outcome:
        from agent_runner.mcp.asking import asked, asked_inside  # noqa: PLC0415 - bring the protocol's library

        given = {key: _plain(value) for key, value in parameters.items() if value not in (None, ())}
        connectors = surroundings.connectors
        if server.container is not None:
            sandbox = await connectors.contained(server.container)
            return await asked_inside(sandbox, server.program, name, remote, given)
        return await asked(await connectors.open(name), name, remote, given)

    act.__doc__ = tool.summary
    return command(
        f"{name} {word}",
        needs=tuple(Capability(name) for name in tool.needs),
        runs="connector",
        connector=server.container or name,
        parameters=tuple(_option(name, argument) for name, argument in tool.arguments.items()),
        sinks=tool.sinks,
    )(act)


def _option(name: str, argument: ToolArgument) -> click.Option:
    words, about = [f"--{name}", name.replace("-", "_")], argument.help or None
    if argument.type == "flag":
        return click.Option(words, is_flag=True, help=about)
    # INVARIANT: `is_flag=False` is not said: click then takes a value that begins with `--` for an option.
    kind: click.ParamType[Any] = click.Choice(argument.choices) if argument.choices else click.STRING
    return click.Option(
        words,
        type=click.INT if argument.type == "integer" else kind,
        required=argument.required,
        multiple=argument.many,
        help=about,
    )


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
