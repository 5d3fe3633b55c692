"""Ask a Docker engine: the connection, the thread for each question, and errors that are ours."""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from sandbox.docker_address import find_engine
from sandbox.docker_client import ANSWER_SECONDS, Transport, client_for
from sandbox.docker_errors import ours
from sandbox.errands import Errands
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
        errands: Names for what is made on the way.
        version: What the engine said of its versions.
    """

    def __init__(
        self,
        address: EngineAddress,
        client: docker.APIClient,
        transport: Transport,
        errands: Errands,
        version: Mapping[str, Any],
    ) -> None:
        self._address = address
        self._client = client
        self._transport = transport
        self._errands = errands
        self._version = version
        self._engine_id = ""

    @classmethod
    async def connect(
        cls, environment: Mapping[str, str] = os.environ, *, errands: Errands | None = None
    ) -> Self:
        """Find the engine as Docker's own client does (DOCKER_HOST, then the context) and ask its version.

        Args:
            environment: What says where it is.
            errands: Of the state folder for which something is made; `clean` finds what has their names.

        Raises:
            EngineAddressError: When what is named cannot be used.
            EngineMissingError: When none answers.
            EnginePermissionError: When its socket may not be used.
        """
        return await asyncio.to_thread(cls._connect, find_engine(environment), errands or Errands())

    @classmethod
    def _connect(cls, address: EngineAddress, errands: Errands) -> Self:
        transport = Transport(address.endpoint)
        with ours(address.url, last_words=lambda: transport.last_words):
            client, version = client_for(transport)
        return cls(address, client, transport, errands, version)

    @property
    def api_version(self) -> str:
        """Return the version of the API that engine and client speak, such as `1.41`."""
        return str(self._client.api_version)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._client.close)

    async def engine_id(self) -> str:
        """Return what tells this engine, and what it stores, from others."""
        if not self._engine_id:
            self._engine_id = id_of(await self._ask(lambda client: client.info()))
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


def id_of(info: Mapping[str, Any]) -> str:
    """Return an engine's own id and a hash of where it stores things.

    The id alone would not do: engines of one machine have it from one file, `/etc/docker/key.json` (tried,
    Docker 20.10), and an image or a volume of one is not there in the other.
    """
    place = hashlib.sha256(str(info.get("DockerRootDir", "")).encode()).hexdigest()[:12]
    return f"{info.get('ID', '')}-{place}"
