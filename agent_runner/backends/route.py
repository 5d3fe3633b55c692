"""The backend `route`: several models as one, by role and weight, and the next where one does not answer."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent_runner.backends.aloud import Counting, Spoken, asked_aloud
from agent_runner.backends.backend import PricedBackend, Tried
from agent_runner.backends.choice import choosing
from agent_runner.backends.failure import ModelServerError
from agent_runner.backends.reply_format import formatting
from agent_runner.cancelling import is_cancelled
from agent_runner.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_runner.backends.aloud import Step, Tell
    from agent_runner.backends.backend import Backend, Message, Reply, Usage
    from agent_runner.backends.choice import Choice
    from agent_runner.backends.configuration import Role
    from agent_runner.backends.reply_format import ReplyFormat
    from cli_tools.schema import Tool


class RouteBackend:
    """Ask the models in order until one answers, and stay with it: its server has the conversation cached.

    The next question begins with the one that answered last. A request that may not leave is no failure of a
    server's: it is not shown to another. Which model answered, and which did not, is told with each reply.

    Args:
        models: Whom to ask, by name, in order; at least one.
        name: How the ledger calls the route.
        notice: Told, in one line, when another model is asked.
        weights: How often each is the first to be asked; without them the first of `models` is.
        roles: Which is asked first for a role.
        chance: Gives numbers from 0 to 1, the latter left out.
    """

    def __init__(  # noqa: PLR0913 - what a route is configured with, each once
        self,
        models: Mapping[str, Backend],
        *,
        name: str,
        notice: Callable[[str], None],
        weights: Mapping[str, int] | None = None,
        roles: Mapping[Role, str] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._models = dict(models)
        self._name = name
        self._notice = notice
        self._roles = dict(roles or {})
        self._first = self._roles.get("main") or _drawn(weights or {}, list(models), chance())

    @property
    def models(self) -> tuple[Backend, ...]:
        """Return the models in the order in which they are configured."""
        return tuple(self._models.values())

    @property
    def kind(self) -> str:
        """Return `route`."""
        return "route"

    @property
    def model(self) -> str:
        """Return the route's name and the model that answers now."""
        return self._called(self._first)

    def for_role(self, role: Role) -> RouteBackend:
        """Return the same models with another one asked first; whoever answers there changes nothing here."""
        first = self._roles.get(role, self._first)
        return RouteBackend(self._models, name=self._name, notice=self._notice, roles={"main": first})

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """Return the next words of the first model that has any.

        Raises:
            agent_runner.errors.BackendError: The last one's, when none answered.
        """
        return await self.ask_aloud(messages, tools, None)

    async def ask_aloud(self, messages: Sequence[Message], tools: Sequence[Tool], tell: Tell | None) -> Reply:
        """Return the next words of the first model that has any, and tell them as they come.

        Raises:
            agent_runner.errors.BackendError: When none answered to the end: the last one's, or that of one
                for which the conversation is too long; who hears it can shorten it.
        """
        return await self.asked_for(_Wish(), messages, tools, tell)

    async def asked_for(
        self, wish: _Wish, messages: Sequence[Message], tools: Sequence[Tool], tell: Tell | None
    ) -> Reply:
        """Return the next words of the first model that has any, and was asked for what is wished.

        Raises:
            agent_runner.errors.BackendError: As `ask_aloud` does.
        """
        noting = None if tell is None or isinstance(tell, Counting) else _Noting(tell)
        tried: list[Tried] = []
        failed: list[BackendError] = []
        unable = False  # to ask so: no failure, so that the next question begins where it would have
        for name in self._order():
            try:
                unable = unable or not wish.is_known_to(self._models[name])
                model = wish.asked_of(self._models[name])
                reply = await asked_aloud(model, messages, tools, noting or tell)
            except BackendError as error:
                if is_cancelled():
                    raise asyncio.CancelledError from error
                if _is_final(error) or (noting is not None and noting.told):
                    error.tried = tuple(tried)
                    raise
                failed.append(error)
                tried.append(Tried(model=self._called(name), error=error.message))
                self._notice(f"{self._models[name].model}: {error.message}")
                continue
            if not unable:
                self._first = name
            return replace(reply, by=self._called(name), tried=tuple(tried))
        if not failed:
            raise ValueError("a route needs a model")
        raise _none_answered(failed, tried)

    def choosing(self, choice: Choice) -> _WishingRoute:
        """Return the same route, whose replies call a tool; whoever answers is asked first from then on.

        A model that cannot choose is passed over and stays the first for questions without a choice.

        Raises:
            ModelServerError: When none of the models can choose.
        """
        return self.wishing(_Wish(choice=choice))

    def formatting(self, form: ReplyFormat) -> _WishingRoute:
        """Return the same route, whose replies are JSON; as `choosing` does.

        Raises:
            ModelServerError: When none of the models can be asked so.
        """
        return self.wishing(_Wish(form=form))

    def wishing(self, wish: _Wish) -> _WishingRoute:
        """Return the same route, each of whose questions asks for what is wished.

        Raises:
            ModelServerError: When none of the models can be asked so: the word of the first one.
        """
        if not any(map(wish.is_known_to, self._models.values())):
            wish.asked_of(self._models[self._first])
        return _WishingRoute(self, wish)

    def priced(self, usage: Usage) -> Usage:
        """Return a usage with its cost, by the price of the model that is asked first."""
        first = self._models[self._first]
        return first.priced(usage) if isinstance(first, PricedBackend) else usage

    def _order(self) -> list[str]:
        names = list(self._models)
        place = names.index(self._first)
        return names[place:] + names[:place]

    def _called(self, name: str) -> str:
        return f"{self._name} > {self._models[name].model}"

    async def close(self) -> None:
        """Give back the connections of all."""
        for model in self._models.values():
            await model.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What is asked for with a question: a call, a format of the reply, or both."""

    choice: Choice | None = None
    form: ReplyFormat | None = None

    def asked_of(self, model: Backend) -> Backend:
        """Return a model whose questions ask for it."""
        return formatting(choosing(model, self.choice), self.form)

    def is_known_to(self, model: Backend) -> bool:
        """Say whether a model can be asked for it."""
        try:
            self.asked_of(model)
        except ModelServerError:
            return False
        return True


class _WishingRoute:
    """Ask a route for what is wished.

    Args:
        route: The route.
        wish: What is.
    """

    def __init__(self, route: RouteBackend, wish: _Wish) -> None:
        self._route = route
        self._wish = wish

    def formatting(self, form: ReplyFormat) -> _WishingRoute:
        return self._route.wishing(replace(self._wish, form=form))

    @property
    def kind(self) -> str:
        return self._route.kind

    @property
    def model(self) -> str:
        return self._route.model

    def priced(self, usage: Usage) -> Usage:
        return self._route.priced(usage)

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        return await self.ask_aloud(messages, tools, None)

    async def ask_aloud(self, messages: Sequence[Message], tools: Sequence[Tool], tell: Tell | None) -> Reply:
        return await self._route.asked_for(self._wish, messages, tools, tell)

    async def close(self) -> None:
        """Do nothing: the route is closed by whoever has it."""


def for_role(backend: Backend, role: Role) -> Backend:
    """Return whom to ask in a role: a route may have somebody for it, another backend is the same for all."""
    return backend.for_role(role) if isinstance(backend, RouteBackend) else backend


def _drawn(weights: Mapping[str, int], names: list[str], chance: float) -> str:
    """Return the model that a number from 0 to 1 falls to; the first where there are no weights."""
    left = chance * sum(weights.values())
    for name, weight in weights.items():
        if left < weight:
            return name
        left -= weight
    return names[0]


class _Noting:
    """Note whether something of a reply was told, so that no other model is asked; not every backend says so.

    Args:
        tell: Who listens.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.told = False

    async def __call__(self, step: Step | Spoken) -> None:
        self.told = self.told or not isinstance(step, Spoken)
        await self._tell(step)


def _is_final(error: BackendError) -> bool:
    """Say whether no other model is asked: the request may not leave, or a reply was told in part."""
    return isinstance(error, ModelServerError) and (error.failure.kind == "capability" or error.failure.told)


def _none_answered(failed: list[BackendError], tried: list[Tried]) -> BackendError:
    told = next(filter(_is_too_long, failed), failed[-1])
    which = "the last" if told is failed[-1] else "one of them"
    message = f"none of {len(tried)} models answered; {which}: {told.message}"
    if isinstance(told, ModelServerError):
        error: BackendError = ModelServerError(message, failure=told.failure, hint=told.hint)
    else:
        error = BackendError(message, hint=told.hint, detail=told.detail)
    error.tried = tuple(tried)
    error.__cause__ = told
    return error


def _is_too_long(error: BackendError) -> bool:
    return isinstance(error, ModelServerError) and error.failure.too_long
