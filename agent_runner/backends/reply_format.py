"""Have a model reply in JSON: which, and which backends can ask for that."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from agent_runner.backends.failure import Failure, ModelServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Backend
    from cli_tools.schema import Tool

MOST_CHARACTERS: Final = 256 * 1024
"""Of a schema with its description, as JSON: servers compile it, which takes longer than reading it."""

NAMELESS: Final = "reply"
"""What a format is called that has no name, as Anthropic's have none: OpenAI's API wants one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFormat:
    """What a reply's text has to be; whether it is, is for the model's server to keep."""

    described: Tool | None = None
    """Its name, description and JSON Schema, as a tool has them; None for any JSON object."""
    strict: bool = False
    """Whether a server that tells strict schemas from others shall take it for one."""


@runtime_checkable
class FormattingBackend(Protocol):
    """A backend that can ask for a format."""

    def formatting(self, form: ReplyFormat) -> Backend:
        """Return the same backend, each of whose questions asks for that format; it has nothing to close.

        Raises:
            ModelServerError: When the model behind it cannot be asked so.
        """
        ...


def formatting(backend: Backend, form: ReplyFormat | None) -> Backend:
    """Return a backend whose questions ask for a format, or the same one where none is wanted.

    Raises:
        ModelServerError: When it cannot ask so.
    """
    if form is None:
        return backend
    if not isinstance(backend, FormattingBackend):
        raise cannot_format(f"a backend of kind `{backend.kind}` cannot ask for a format of the reply")
    return backend.formatting(form)


def cannot_format(why: str) -> ModelServerError:
    """Return the error of a backend that cannot ask for a format."""
    return ModelServerError(why, failure=Failure(kind="refused", status=400))


def described_to_model(tools: Sequence[Tool], form: ReplyFormat | None) -> tuple[Tool, ...]:
    """Return all that is described to a model beside the conversation: its tokens count as well."""
    more = () if form is None or form.described is None else (form.described,)
    return (*tools, *more)


def is_too_large(form: ReplyFormat | None) -> bool:
    """Say whether a format's description and schema have more than `MOST_CHARACTERS`."""
    told = None if form is None else form.described
    return told is not None and len(json.dumps([told.description, told.parameters])) > MOST_CHARACTERS
