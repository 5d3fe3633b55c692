"""The backend `route`: several models as one. The first that answers goes on answering."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_runner.backends.failure import ModelServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_runner.backends.backend import Backend, Message, Reply
    from cli_tools.schema import Tool


class RouteBackend:
    """Ask the models in order until one answers, and stay with it: its server has the conversation cached.

    The next question begins with the one that answered last. A request that may not leave is no failure of a
    server's: it is not shown to another.

    Args:
        models: Whom to ask, in order; at least one.
        name: How the ledger calls the route.
        notice: Told, in one line, when another model is asked.
    """

    def __init__(self, models: Sequence[Backend], *, name: str, notice: Callable[[str], None]) -> None:
        self._models = tuple(models)
        self._name = name
        self._notice = notice
        self._current = 0

    @property
    def models(self) -> tuple[Backend, ...]:
        """Return the models in the order in which they are asked."""
        return self._models

    @property
    def kind(self) -> str:
        """Return `route`."""
        return "route"

    @property
    def model(self) -> str:
        """Return the route's name and the model that answers now."""
        return f"{self._name} > {self._models[self._current].model}"

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """Return the next words of the first model that has any.

        Raises:
            agent_runner.errors.BackendError: The last one's, when none answered.
        """
        last: ModelServerError | None = None
        for step in range(len(self._models)):
            place = (self._current + step) % len(self._models)
            try:
                reply = await self._models[place].ask(messages, tools)
            except ModelServerError as error:
                if error.failure.kind == "capability":
                    raise
                last = error
                self._notice(f"{self._models[place].model}: {error.message}")
                continue
            self._current = place
            return reply
        if last is None:
            raise ValueError("a route needs a model")
        raise ModelServerError(
            f"none of {len(self._models)} models answered; the last: {last.message}",
            failure=last.failure,
            hint=last.hint,
        ) from last

    async def close(self) -> None:
        """Give back the connections of all."""
        for model in self._models:
            await model.close()
