"""Know every command of this machine: the built-in ones, and those that the operator declared in files.

The operator's files are `commands/*.yaml` beside the configuration. A workspace cannot declare any.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from agent_runner.errors import InvalidInputError
from agent_runner.models import configuration_path, configured_connectors
from agent_runner.owned_file import read_owned_file
from cli_tools.action import Catalogue
from cli_tools.catalogue import built_in
from cli_tools.errors import DeclarationError
from policies.source import SourceText
from policies.trust import Member

if TYPE_CHECKING:
    from pathlib import Path

    from cli_tools.command import Command
    from policies.policy import Policy

FOLDER: Final = "commands"


def declarations_folder() -> Path:
    """Return the folder of the operator's declared commands; it need not exist."""
    return configuration_path().parent / FOLDER


def known_commands() -> Catalogue:
    """Return every command that there is on this machine.

    Raises:
        InvalidInputError: When a file cannot be used, or two files declare one command.
        policies.errors.PolicyFileError: When a file is not valid.
    """
    declared = [command for source in _sources() for command in _declared(source)]
    declared += _remote()
    if not declared:
        return built_in()
    try:
        return Catalogue((*built_in().commands, *declared))
    except DeclarationError as error:
        where = declarations_folder()
        raise InvalidInputError(f"two files in `{where}` declare one command", hint="rename one") from error


def declarations_meant(policy: Policy) -> tuple[SourceText, ...]:
    """Return the files of which a policy offers a command: what it means rests on them."""
    patterns = (*policy.commands.allow, *policy.commands.ask)
    return tuple(
        source
        for source in _sources()
        if any(pattern.matches(command.path) for command in _declared(source) for pattern in patterns)
    )


def member_of(source: SourceText) -> Member:
    """Return what stands for a file in the closure of a policy that rests on it."""
    return Member(source.origin, hashlib.sha256(source.text.encode("utf-8", "surrogatepass")).hexdigest())


def _sources() -> list[SourceText]:
    folder = declarations_folder()
    if not folder.is_dir():
        return []
    paths = sorted(folder.glob("*.yaml"))
    return [SourceText(str(path), read_owned_file(path, what="declared commands")) for path in paths]


def _declared(source: SourceText) -> tuple[Command, ...]:
    from cli_tools.declared import declared_commands  # noqa: PLC0415 - brings RE2, which only these need

    return tuple(made for _, made in declared_commands(source.text, origin=source.origin))


def _remote() -> list[Command]:
    """Return the tools of the MCP servers that the operator configured."""
    servers = configured_connectors().mcp
    if not servers:
        return []
    from agent_runner.mcp.tools import remote_commands  # noqa: PLC0415 - only these need it

    return remote_commands(servers, built_in())
