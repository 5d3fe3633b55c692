"""Load a backend that another package brings, by its entry point; what it does wrong is told as its own.

An entry point of the group `pairlock.backends` names something that is called with the settings of the
configuration and the model's name, and returns a `Backend`. Only one that the operator's configuration names
is ever loaded: it runs on the host, as the runner does, and what it sends is for its author to close.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final

from agent_runner.backends.aloud import asked_aloud
from agent_runner.backends.failure import ModelServerError, one_line
from agent_runner.backends.sound import require_sound
from agent_runner.cancelling import is_cancelled
from agent_runner.errors import BackendError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.aloud import Tell
    from agent_runner.backends.backend import Backend, Message, Reply, Usage
    from agent_runner.backends.configuration import InstalledModel, Price
    from cli_tools.schema import Tool

GROUP: Final = "pairlock.backends"
_NO_EXCEPTIONS: Final = (SystemExit, BaseExceptionGroup)
"""What its author's code may raise beside exceptions; an interrupt is the user's."""
CLOSE_SECONDS: Final = 5.0
"""How long a backend may take to give back its connections."""


class InstalledBackend:
    """Ask a backend of another package.

    Args:
        inner: The backend.
        kind: Its entry point's name.
        price: What its tokens cost; None where the operator does not say.
    """

    def __init__(self, inner: Backend, *, kind: str, price: Price | None = None) -> None:
        self._inner = inner
        self._kind = kind
        self._price = price

    @property
    def kind(self) -> str:
        """Return the entry point's name."""
        return self._kind

    @property
    def model(self) -> str:
        """Return what the backend calls its model; its kind where it fails to say."""
        # Its author's may raise anything, and is asked for where nobody expects an error.
        with suppress(Exception, *_NO_EXCEPTIONS):
            return one_line(str(self._inner.model))
        return self._kind

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """Return the model's next words.

        Raises:
            BackendError: When the backend raised anything, or returned what is no reply.
        """
        return await self.ask_aloud(messages, tools, None)

    async def ask_aloud(self, messages: Sequence[Message], tools: Sequence[Tool], tell: Tell | None) -> Reply:
        """Return the model's next words, told as they come where the backend does so.

        Raises:
            BackendError: As `ask` does.
        """
        try:
            reply = await asked_aloud(self._inner, messages, tools, tell)
        except ModelServerError:
            raise
        except BackendError as error:
            raise self._fault(str(error.message), hint=error.hint, detail=error.detail) from error
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            raise self._fault("it cancelled itself") from error
        except (Exception, *_NO_EXCEPTIONS) as error:
            raise self._fault(f"{type(error).__name__}: {_words(error)}") from error
        try:
            sound = require_sound(reply)
        except (TypeError, ValueError) as error:
            raise self._fault(str(error)) from error
        return replace(sound, usage=self.priced(sound.usage))

    def priced(self, usage: Usage) -> Usage:
        """Return a usage with its cost, by the operator's price."""
        return usage if self._price is None else self._price.priced(usage)

    async def close(self) -> None:
        """Give back connections; what goes wrong then, or takes long, changes nothing for the session."""
        try:
            with suppress(Exception, *_NO_EXCEPTIONS):  # its author's, after the last reply
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._inner.close()
        except asyncio.CancelledError:
            if is_cancelled():
                raise

    def _fault(self, what: str, *, hint: str = "", detail: str = "") -> BackendError:
        return BackendError(
            f"the backend `{self._kind}` failed: {one_line(what)}",
            hint=hint or "ask who wrote it: it is no part of pairlock",
            detail=detail,
        )


def _words(error: BaseException) -> str:
    """Return what an error says; its author's, as all else of it is."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever an exception's own text may raise
        return "it cannot say why"


def installed_backend(found: InstalledModel, *, name: str) -> InstalledBackend:
    """Return the backend that the configuration names.

    Args:
        found: What is configured.
        name: The model's name in the configuration.

    Raises:
        InvalidInputError: When no installed package, or more than one, brings it, or it cannot be made.
    """
    entry = _entry(found.kind)
    try:
        made: object = entry.load()(dict(found.settings), name=name)
        is_backend = _is_backend(made)
    except (Exception, asyncio.CancelledError, *_NO_EXCEPTIONS) as error:
        what = f"{type(error).__name__}: {_words(error)}"
        raise InvalidInputError(
            f"the backend `{found.kind}` of model `{name}` cannot be made: {one_line(what)}",
            hint=f"ask who wrote it: `{one_line(entry.value)}` is no part of pairlock",
        ) from error
    if not is_backend:
        raise InvalidInputError(f"`{entry.value}` made a {type(made).__name__}, expected a `Backend`")
    return InstalledBackend(made, kind=found.kind, price=found.price)  # type: ignore[arg-type]  # seen to be one


def _entry(kind: str) -> EntryPoint:
    installed = entry_points(group=GROUP)
    found = [entry for entry in installed if entry.name == kind]
    if len(found) != 1:
        known = ", ".join(sorted(entry.name for entry in installed)) or "none"
        many = f"more than one package brings the backend `{kind}`"
        raise InvalidInputError(
            many if found else f"no installed package brings the backend `{kind}`",
            hint=f"installed: {known}; packages name theirs in the entry points `{GROUP}`",
        )
    return found[0]


def _is_backend(made: object) -> bool:
    parts = ("kind", "model", "ask", "close")
    return all(hasattr(made, part) for part in parts)
