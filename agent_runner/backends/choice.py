"""Have a model call a tool: which one, and which backends can ask for that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from agent_runner.backends.failure import Failure, ModelServerError

if TYPE_CHECKING:
    from agent_runner.backends.backend import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A call that a reply has to hold; whether it does is for the model's server to keep."""

    tool: str = ""
    """The tool that is called; empty for any of those on offer."""


@runtime_checkable
class ChoosingBackend(Protocol):
    """A backend that can ask for a call."""

    def choosing(self, choice: Choice) -> Backend:
        """Return the same backend, each of whose questions asks for that call; it has nothing to close.

        Raises:
            ModelServerError: When the model behind it cannot be asked so.
        """
        ...


def choosing(backend: Backend, choice: Choice | None) -> Backend:
    """Return a backend whose questions ask for a call, or the same one where none is chosen.

    Raises:
        ModelServerError: When it cannot ask so.
    """
    if choice is None:
        return backend
    if not isinstance(backend, ChoosingBackend):
        raise ModelServerError(
            f"a backend of kind `{backend.kind}` cannot choose a tool: `tool_choice` is `auto` or `none`",
            failure=Failure(kind="refused", status=400),
        )
    return backend.choosing(choice)
