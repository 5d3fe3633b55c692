"""Choose the model: named on the command line, else the default of the operator's configuration."""

from __future__ import annotations

import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Final

import platformdirs

from agent_runner.backends.configuration import (
    AnthropicModel,
    InstalledModel,
    OpenAIModel,
    ReplayedModel,
    RoutedModel,
    ScriptedModel,
    read_configuration,
)
from agent_runner.backends.scripted import ScriptedBackend, load_script
from agent_runner.errors import InvalidInputError
from policies.wording import listed, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent_runner.backends.backend import Backend
    from agent_runner.backends.configuration import ConfiguredModel
    from agent_runner.connectors_configured import ConfiguredConnectors
    from agent_runner.credentials import CredentialReference
    from agent_runner.webhook import WebhookAsker

SCRIPTED: Final = "scripted:"
OPENAI: Final = "openai:"
REPLAY: Final = "replay:"
_LOGIN: Final = re.compile(r"//.*@", re.DOTALL)
_QUERY: Final = re.compile(r"[?#].*", re.DOTALL)


def _silent(_message: str) -> None:
    pass


def configuration_path() -> Path:
    """Return where the operator's configuration lies."""
    return Path(platformdirs.user_config_dir("pairlock", appauthor=False)) / "config.yaml"


def choose_backend(
    model: str | None, *, notice: Callable[[str], None] = _silent, seed: int | None = None
) -> Backend:
    """Return the backend that a name stands for.

    Args:
        model: `scripted:FILE`, `openai:MODEL@URL` (a server that wants no key), `replay:SESSION`, a name of
            the configuration, or None for its `default`.
        notice: Told, in one line, when there is a wait before another try, or another model is asked.
        seed: What the model draws with; None leaves it to its server.

    Raises:
        InvalidInputError: When there is none, or it takes no seed; the hint says how to configure one.
    """
    if seed is not None:
        return _seeded(model, seed, notice)
    if model is not None and model.startswith(SCRIPTED):
        path = Path(model.removeprefix(SCRIPTED))
        return ScriptedBackend(load_script(path), name=f"{SCRIPTED}{path.name}")
    if model is not None and model.startswith(OPENAI):
        return _made(model, _from_line(model), {}, notice)
    if model is not None and model.startswith(REPLAY):
        return _replayed(model, model.removeprefix(REPLAY))
    path = configuration_path()
    configured = read_configuration(path).models
    found = configured.get(model or "default")
    if found is None:
        what = f"no model `{_without_login(model)}` is configured" if model else "no model is configured"
        raise InvalidInputError(what, hint=_meant(model, configured) or _how_to_configure(path))
    return _made(model or "default", found, configured, notice)


def _seeded(model: str | None, seed: int, notice: Callable[[str], None]) -> Backend:
    """Return the backend of a model whose server takes a seed: of those that are known, chat completions."""
    if model is not None and model.startswith(OPENAI):
        found: object = _from_line(model)
    else:
        found = read_configuration(configuration_path()).models.get(model or "default")
    if not isinstance(found, OpenAIModel):
        raise InvalidInputError(
            f"model `{model or 'default'}` takes no seed", hint="models of the backend `openai` do"
        )
    return _served(model or "default", found, notice, seed=seed)


def _from_line(line: str) -> OpenAIModel:
    name, at, url = line.removeprefix(OPENAI).rpartition("@")
    if not at or not name:
        raise InvalidInputError(
            f"`{_without_login(line)}` names no model and server",
            hint="`openai:MODEL@http://127.0.0.1:8000/v1`",
        )
    try:
        return OpenAIModel(backend="openai", model=name, base_url=url)
    except ValueError as error:
        raise InvalidInputError(
            f"`{_without_login(line)}` names no server, expected `openai:MODEL@http://HOST:PORT/v1` without "
            "a name, password or query"
        ) from error


def _without_login(line: str) -> str:
    """Return what was named without what may be a password or a key in it, for a message."""
    return _QUERY.sub("?…", _LOGIN.sub("//…@", line))


def _made(
    name: str,
    found: ConfiguredModel,
    configured: Mapping[str, ConfiguredModel],
    notice: Callable[[str], None],
) -> Backend:
    match found:
        case ScriptedModel(script=script):
            return ScriptedBackend(load_script(configuration_path().parent / script), name=name)
        case RoutedModel():
            return _routed(name, found, configured, notice)
        case ReplayedModel(session=session):
            return _replayed(name, session)
        case InstalledModel():
            return _installed(name, found)
        case OpenAIModel() | AnthropicModel():
            return _served(name, found, notice)


def _served(
    name: str,
    found: OpenAIModel | AnthropicModel,
    notice: Callable[[str], None],
    *,
    seed: int | None = None,
) -> Backend:
    from agent_runner.backends.anthropic_messages import AnthropicBackend  # noqa: PLC0415 - brings the HTTP library, which only these need
    from agent_runner.backends.chat_completions import OpenAIBackend  # noqa: PLC0415 - the same
    from agent_runner.backends.retry import Patience  # noqa: PLC0415 - the same
    from agent_runner.backends.server import Server  # noqa: PLC0415 - the same

    server = Server(
        base_url=found.base_url,
        model=found.model,
        key=found.key,
        timeout_seconds=float(found.timeout),
        silence_seconds=float(found.silence),
        output_tokens=found.output_tokens,
        stream=found.stream,
        parallel_calls=found.parallel_calls,
        prompt_cache=isinstance(found, AnthropicModel) and found.prompt_cache,
        proxy=found.proxy,
        price=found.price,
        dynamo=found.dynamo if isinstance(found, OpenAIModel) else None,
        seed=seed,
    )
    patience = Patience(attempts=found.attempts, notice=notice)
    if isinstance(found, OpenAIModel):
        return OpenAIBackend(server, name=name, patience=patience)
    return AnthropicBackend(server, name=name, patience=patience)


def _routed(
    name: str,
    route: RoutedModel,
    configured: Mapping[str, ConfiguredModel],
    notice: Callable[[str], None],
) -> Backend:
    from agent_runner.backends.route import RouteBackend  # noqa: PLC0415 - only a route needs it

    for each in route.models:
        if isinstance(configured.get(each), RoutedModel | None):
            what = (
                f"route `{name}` names `{each}`, which is no model of the configuration that answers itself"
            )
            raise InvalidInputError(what, hint=f"configured: {', '.join(sorted(configured))}")
    made = {each: _made(each, configured[each], configured, notice) for each in route.models}
    return RouteBackend(made, name=name, notice=notice, weights=route.weights, roles=route.roles)


def _replayed(name: str, session: str) -> Backend:
    from agent_runner.backends.replay import recorded_backend  # noqa: PLC0415 - reads ledgers, which only it does

    return recorded_backend(session, name=name)


def _installed(name: str, found: InstalledModel) -> Backend:
    from agent_runner.backends.installed import installed_backend  # noqa: PLC0415 - loads what others wrote

    with redirect_stdout(sys.stderr):  # what its author prints is talk, and a program may read stdout
        return installed_backend(found, name=name)


def _meant(model: str | None, configured: Mapping[str, ConfiguredModel]) -> str:
    """Return which of the configured models may be meant; nothing where there is none."""
    if not configured:
        return ""
    near = nearest(model, configured) if model else None
    return (
        f"did you mean `{near}`?"
        if near
        else f"`--model` takes one of {listed(configured)}, or `scripted:FILE`"
    )


def _how_to_configure(path: Path) -> str:
    return (
        f"name one, `--model scripted:FILE` (in a task file `model: scripted:FILE`), or write to {path}:\n"
        "  version: 1\n"
        "  models:\n"
        "    default: {backend: openai, base_url: 'http://127.0.0.1:8000/v1', model: NAME}\n"
        "a server that wants a key: add `key: {env: NAME}`; Claude: `backend: anthropic`"
    )


def configured_credentials() -> Mapping[str, CredentialReference]:
    """Return the operator's credentials by name.

    Raises:
        InvalidInputError: When the configuration is not valid.
    """
    return read_configuration(configuration_path()).credentials


def configured_webhook(notice: Callable[[str], None] = _silent) -> WebhookAsker | None:
    """Return who is asked by webhook; None where the operator configured none.

    Raises:
        InvalidInputError: When the configuration is not valid.
    """
    from agent_runner.webhook import WebhookAsker  # noqa: PLC0415 - only a runner that may ask needs it

    configured = read_configuration(configuration_path()).approvals
    return WebhookAsker(configured=configured, notice=notice) if configured else None


def model_reference(model: str | None) -> str:
    """Return how a model is named so that another process, in another folder, finds the same one.

    Args:
        model: As `choose_backend` takes it.
    """
    if model is not None and model.startswith(SCRIPTED):
        return f"{SCRIPTED}{Path(model.removeprefix(SCRIPTED)).resolve()}"
    if model is not None and model.startswith(REPLAY):
        from agent_runner.backends.replay import recorded_session  # noqa: PLC0415 - only a replay needs it

        return f"{REPLAY}{recorded_session(model.removeprefix(REPLAY)).folder}"
    return model or "default"


def context_tokens(reference: str) -> int | None:
    """Return how many tokens a model takes in, as configured; of a route, the least of its models.

    Args:
        reference: As `SessionRequest.model_reference`; empty for a backend that no name stands for.

    Raises:
        InvalidInputError: When the configuration is not valid.
    """
    if not reference or reference.startswith((SCRIPTED, OPENAI, REPLAY)):
        return None
    configured = read_configuration(configuration_path()).models
    found = configured.get(reference)
    meant = [configured.get(name) for name in found.models] if isinstance(found, RoutedModel) else [found]
    told = [each.context for each in meant if isinstance(each, OpenAIModel | AnthropicModel)]
    return min((int(context) for context in told if context is not None), default=None)


def approval_seconds() -> float:
    """Return how long an answer may take, wherever it comes from: the webhook's time, if that is longer.

    Raises:
        InvalidInputError: When the configuration is not valid.
    """
    from agent_runner.approvals import WAIT_SECONDS  # noqa: PLC0415 - only a runner that may ask needs it

    configured = read_configuration(configuration_path()).approvals
    return max(WAIT_SECONDS, float(configured.wait)) if configured else WAIT_SECONDS


def configured_connectors() -> ConfiguredConnectors:
    """Return the operator's connectors.

    Raises:
        InvalidInputError: When the configuration is not valid.
    """
    return read_configuration(configuration_path()).connectors
