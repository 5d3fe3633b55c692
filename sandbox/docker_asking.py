"""Ask a Docker engine: the connection, the thread for each question, and errors that are ours."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final, Self, TypeVar

from sandbox.docker_address import find_engine
from sandbox.docker_client import ANSWER_SECONDS, Transport, client_for
from sandbox.docker_errors import ours
from sandbox.errors import EngineSilentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import docker

    from sandbox.docker_address import EngineAddress

T = TypeVar("T")
SILENT_SECONDS: Final = 5
"""How long an engine has for its answer that did not give the last one in time."""


class Asking:
    """Hold the way to one engine; the SDK is synchronous, so each of its calls runs in a thread.

    Args:
        address: Where the engine is.
        client: The SDK's client.
        transport: What carries its requests.
    """

    def __init__(self, address: EngineAddress, client: docker.APIClient, transport: Transport) -> None:
        self._address = address
        self._client = client
        self._transport = transport
        self._engine_id = ""

    @classmethod
    async def connect(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Find the engine as Docker's own client does (DOCKER_HOST, then the context) and ask its version.

        Raises:
            EngineAddressError: When what is named cannot be used.
            EngineMissingError: When none answers.
            EnginePermissionError: When its socket may not be used.
        """
        return await asyncio.to_thread(cls._connect, find_engine(environment))

    @classmethod
    def _connect(cls, address: EngineAddress) -> Self:
        transport = Transport(address.endpoint)
        with ours(address.url, last_words=lambda: transport.last_words):
            return cls(address, client_for(transport), transport)

    @property
    def api_version(self) -> str:
        """Return the version of the API that engine and client speak, such as `1.41`."""
        return str(self._client.api_version)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._client.close)

    async def engine_id(self) -> str:
        """Return the engine's own id."""
        if not self._engine_id:
            self._engine_id = str((await self._ask(lambda client: client.info()))["ID"])
        return self._engine_id

    async def _ask(self, question: Callable[[docker.APIClient], T]) -> T:
        try:
            answer = await asyncio.to_thread(self._asked, question)
        except EngineSilentError:
            # Whoever tidies up now has several questions left, and no reason to wait as long for each.
            self._client.timeout = SILENT_SECONDS
            raise
        self._client.timeout = ANSWER_SECONDS
        return answer

    def _asked(self, question: Callable[[docker.APIClient], T]) -> T:
        with ours(self._address.url, last_words=lambda: self._transport.last_words):
            return question(self._client)
