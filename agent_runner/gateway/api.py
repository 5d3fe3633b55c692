"""Say what an API that an agent may speak is to the rest: how a request is read, and how a reply is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_runner.backends.aloud import Step
    from agent_runner.backends.backend import Reply
    from agent_runner.gateway.asked import Asked, RefusedRequestError


class Api(Protocol):
    """One of the APIs that an agent may speak."""

    def read(self, body: object) -> Asked:
        """Return what a request asks for.

        Raises:
            RefusedRequestError: When it holds anything that the closed schema does not.
        """
        ...

    def whole(self, asked: Asked, reply: Reply, name: str) -> object:
        """Return a reply in one piece; `name` is fresh, for its id."""
        ...

    def events(self, asked: Asked, name: str) -> Events:
        """Return what tells one reply as a stream; `name` is fresh, for its id."""
        ...

    def error(self, error: RefusedRequestError) -> object:
        """Return an error as this API tells it."""
        ...


class Events(Protocol):
    """Tell one reply as an event stream, step by step."""

    def step(self, step: Step) -> Iterator[bytes]:
        """Yield the events of a step."""
        ...

    def end(self, reply: Reply) -> Iterator[bytes]:
        """Yield the events of the end; each step of the reply was told."""
        ...

    def broken(self, error: RefusedRequestError) -> bytes:
        """Return the event which says that no more of the reply comes."""
        ...
