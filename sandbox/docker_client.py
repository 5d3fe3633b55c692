"""Give the Docker SDK its connections, so that it and the attached streams reach one engine in one way.

The SDK's own ways are not used: its TLS lets REQUESTS_CA_BUNDLE replace the engine's authority, and its ssh
reads without a time-out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import docker
import requests.adapters
import urllib3.connection
import urllib3.connectionpool

from sandbox.endpoint import dial

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.endpoint import Endpoint, SshCall

ANSWER_SECONDS: Final = 60
HELLO_SECONDS: Final = 20
CONNECTIONS: Final = 32
_FIRST_API: Final = "1.41"
_PLACE: Final = "unix:///engine"
"""Nowhere: the transport knows where."""


class Transport(requests.adapters.HTTPAdapter):
    """Carry the SDK's requests to one endpoint.

    Args:
        endpoint: Where.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self.endpoint = endpoint
        self.last_words = ""
        """What the program behind a connection said when it ended; empty where there is none."""
        self._pool = _Pool(self)

    def get_connection_with_tls_context(self, *_: object, **__: object) -> urllib3.HTTPConnectionPool:
        """Return the connections, whatever the request's URL and the environment say."""
        return self._pool

    def request_url(self, request: requests.PreparedRequest, proxies: object) -> str:  # noqa: ARG002 - its signature
        """Return what stands in the request's first line: no proxy is between."""
        return request.path_url

    def close(self) -> None:
        """Close the connections."""
        super().close()
        self._pool.close()


def client_for(transport: Transport) -> tuple[docker.APIClient, Mapping[str, Any]]:
    """Return the SDK's client, speaking the engine's own version of the API, and what was said of versions.

    Raises:
        docker.errors.DockerException, requests.RequestException, OSError: When the engine does not answer.
    """
    asking = _client(transport, _FIRST_API)
    asking.timeout = HELLO_SECONDS
    said = asking.version(api_version=False)
    return _client(transport, str(said["ApiVersion"])), said


def _client(transport: Transport, version: str) -> docker.APIClient:
    client = docker.APIClient(base_url=_PLACE, version=version, timeout=ANSWER_SECONDS)
    client.mount("http+docker://", transport)
    client.trust_env = False  # no proxy, and no authority but the engine's, from the environment
    return client


class _Connection(urllib3.connection.HTTPConnection):
    """One connection to the engine, whatever it goes over."""

    def __init__(self, transport: Transport) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._transport = transport
        self._call: SshCall | None = None

    def connect(self) -> None:
        """Connect."""
        dialled = dial(self._transport.endpoint, seconds=ANSWER_SECONDS)
        self.sock, self._call = dialled.socket, dialled.call

    def close(self) -> None:
        """Close the connection, and end the program behind it."""
        super().close()
        call, self._call = self._call, None
        if call is not None:
            self._transport.last_words = call.end()


class _Pool(urllib3.connectionpool.HTTPConnectionPool):
    """The connections that are kept for the next request."""

    def __init__(self, transport: Transport) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS, maxsize=CONNECTIONS)
        self._transport = transport

    def _new_conn(self) -> _Connection:
        return _Connection(self._transport)
