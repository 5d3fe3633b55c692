"""Say what a command may ask of a connector: one request to a server that the operator configured.

The credential, the host and what may be asked there are the connector's own; a command can name none of them.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

from cli_tools.errors import ActionError
from sandbox.errors import SandboxLostError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sandbox.egress.credentials import Headers
    from sandbox.egress.fetch import Response
    from sandbox.session import Sandbox

LARGEST_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""Of one answer; what is longer is refused, because half of a JSON text means nothing."""


class Connector(Protocol):
    """Ask one configured server."""

    @property
    def base_url(self) -> str:
        """Where its API begins, without a slash at the end."""
        ...

    @property
    def account(self) -> str:
        """Whose things are meant, as the server names them in a path; empty where the credential says it."""
        ...

    async def request(self, method: str, url: str, *, headers: Headers = (), body: bytes = b"") -> Response:
        """Make one request; where the server asks to wait, it is waited for within a bound.

        Args:
            method: In capital letters.
            url: Absolute; the connector's own rules decide it again.
            headers: Without any credential.
            body: What is sent; empty for none.

        Raises:
            ActionError: When the rules say no, nobody answers, or the wait would be too long.
        """
        ...


class Connectors(Protocol):
    """The connectors of one session."""

    async def contained(self, name: str) -> Sandbox:
        """Return the container of a connector that is a program, made when it is first asked for.

        Args:
            name: Its name.

        Raises:
            ActionError: When the operator configured none of that name, or it cannot be made.
        """
        ...

    async def open(self, name: str, *, action: str = "") -> Connector:
        """Return a connector, started when it is first asked for.

        Args:
            name: Its name.
            action: The action that asks, for the ledger; empty where that is not known.

        Raises:
            ActionError: When the operator configured none of that name.
        """
        ...


class ConnectorsOfAction:
    """Give a session's connectors to one action.

    Args:
        connectors: The session's.
        action: `<session>/<n>`.
    """

    def __init__(self, connectors: Connectors, action: str) -> None:
        self._connectors = connectors
        self._action = action

    async def contained(self, name: str) -> Sandbox:
        """Return the container of one that is a program."""
        return await self._connectors.contained(name)

    async def open(self, name: str, *, action: str = "") -> Connector:
        """Return a connector whose requests are told as this action's."""
        return await self._connectors.open(name, action=action or self._action)


class NoConnectors:
    """Have none."""

    async def contained(self, name: str) -> Sandbox:
        """Refuse."""
        raise _none_of(name)

    async def open(self, name: str, *, action: str = "") -> Connector:  # noqa: ARG002 - none of them
        """Refuse."""
        raise _none_of(name)


@asynccontextmanager
async def within(connectors: Connectors, name: str) -> AsyncIterator[Sandbox]:
    """Give the container of a connector that is a program; when it is lost, its action fails and no more.

    Args:
        connectors: The session's.
        name: The connector's.

    Raises:
        ActionError: When there is none of that name, it cannot be made, or it was lost.
    """
    sandbox = await connectors.contained(name)
    try:
        yield sandbox
    except SandboxLostError as error:
        await sandbox.link.close()  # of a guest that may yet answer, too: the next action has another
        raise ActionError("upstream", f"connector `{name}` was lost: {error.message}") from error


def _none_of(name: str) -> ActionError:
    return ActionError(
        "not-configured",
        f"connector `{name}` is not configured",
        hint=f"the operator adds `connectors: {{{name}: …}}` to the configuration",
    )


NONE: Final = NoConnectors()
