"""Choose the model: named on the command line, else the default of the operator's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from agent_runner.backends.checked_yaml import read_checked
from agent_runner.backends.key import KeyReference
from agent_runner.backends.scripted import ScriptedBackend, load_script
from agent_runner.errors import InvalidInputError
from policies.leaves import CountField, DurationField
from policies.units import Seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent_runner.backends.backend import Backend, Usage

SCRIPTED: Final = "scripted:"
OPENAI: Final = "openai:"
MAXIMUM_BYTES: Final = 1024 * 1024
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def _checked_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"`{value}` is no URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or not value.isascii():
        raise ValueError(f"`{value}` is no URL of a server, expected `https://HOST/PATH`")
    if "@" in parts.netloc:
        raise ValueError("a URL may not hold a name or password: give the key as `key`")
    if parts.query or parts.fragment:
        raise ValueError(f"`{value}` holds a query or fragment, expected `https://HOST/PATH`")
    return value.rstrip("/")


ServerUrl = Annotated[str, AfterValidator(_checked_url)]
Dollars = Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False, strict=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Price(_Strict):
    """What a million tokens cost, in US dollars."""

    input: Dollars
    output: Dollars
    cached: Dollars | None = None
    """For input that the server had in its cache; what `input` says where it is left out."""

    def dollars(self, usage: Usage) -> float:
        """Return what a reply cost."""
        cached = self.input if self.cached is None else self.cached
        fresh = usage.input_tokens - usage.cached_tokens
        sums = fresh * self.input + usage.cached_tokens * cached + usage.output_tokens * self.output
        return sums / 1_000_000


class ScriptedModel(_Strict):
    """A model that is a script."""

    backend: Literal["scripted"]
    script: str
    """Path of the script, relative to the configuration."""


class _ServedModel(_Strict):
    model: Annotated[str, Field(min_length=1, max_length=256)]
    """What the server calls it."""
    key: KeyReference | None = None
    timeout: DurationField = Seconds(600)
    """The longest that one attempt may take."""
    silence: DurationField = Seconds(120)
    """The longest wait for the next byte."""
    attempts: Annotated[int, Field(ge=1, le=100)] = 5
    """How often to try; 1 tries once."""
    output_tokens: CountField | None = None
    """The longest reply."""
    stream: bool = True
    parallel_calls: bool = True
    proxy: ServerUrl | None = None
    price: Price | None = None


def _require_private(url: str, key: KeyReference | None) -> None:
    parts = urlsplit(url)
    if key is not None and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError(f"the key would travel to `{parts.hostname}` in the clear, expected `https://`")


class OpenAIModel(_ServedModel):
    """A model of a server that speaks OpenAI's chat completions."""

    backend: Literal["openai"]
    base_url: ServerUrl = "https://api.openai.com/v1"

    @model_validator(mode="after")
    def _private(self) -> OpenAIModel:
        _require_private(self.base_url, self.key)
        return self


class AnthropicModel(_ServedModel):
    """A model of a server that speaks Anthropic's messages."""

    backend: Literal["anthropic"]
    base_url: ServerUrl = "https://api.anthropic.com"
    prompt_cache: bool = True
    """Whether the stable beginning is marked for the server's cache."""

    @model_validator(mode="after")
    def _private(self) -> AnthropicModel:
        _require_private(self.base_url, self.key)
        return self


class RoutedModel(_Strict):
    """Several models as one: the first that answers."""

    backend: Literal["route"]
    models: Annotated[tuple[str, ...], Field(min_length=2, max_length=16, strict=False)]
    """Names of this configuration, in the order in which they are asked."""


ConfiguredModel = Annotated[
    ScriptedModel | OpenAIModel | AnthropicModel | RoutedModel, Field(discriminator="backend")
]


class Configuration(_Strict):
    """The operator's configuration."""

    version: Literal[1]
    models: dict[str, ConfiguredModel] = Field(default_factory=dict)
    """Names, and what they stand for; `default` is used when none is named."""


def _silent(_message: str) -> None:
    pass


def configuration_path() -> Path:
    """Return where the operator's configuration lies."""
    return Path(platformdirs.user_config_dir("pairlock", appauthor=False)) / "config.yaml"


def choose_backend(model: str | None, *, notice: Callable[[str], None] = _silent) -> Backend:
    """Return the backend that a name stands for.

    Args:
        model: `scripted:FILE`, `openai:MODEL@URL` (a server that wants no key), a name of the configuration,
            or None for its `default`.
        notice: Told, in one line, when there is a wait before another try, or another model is asked.

    Raises:
        InvalidInputError: When there is none; the hint says how to configure one.
    """
    if model is not None and model.startswith(SCRIPTED):
        path = Path(model.removeprefix(SCRIPTED))
        return ScriptedBackend(load_script(path), name=f"{SCRIPTED}{path.name}")
    if model is not None and model.startswith(OPENAI):
        return _made(model, _from_line(model), {}, notice)
    path = configuration_path()
    configured = read_configuration(path).models
    found = configured.get(model or "default")
    if found is None:
        what = f"no model `{model}` is configured" if model else "no model is configured"
        raise InvalidInputError(what, hint=_how_to_configure(path))
    return _made(model or "default", found, configured, notice)


def _from_line(line: str) -> OpenAIModel:
    name, at, url = line.removeprefix(OPENAI).rpartition("@")
    if not at or not name:
        raise InvalidInputError(
            f"`{line}` names no model and server", hint="`openai:MODEL@http://127.0.0.1:8000/v1`"
        )
    try:
        return OpenAIModel(backend="openai", model=name, base_url=url)
    except ValueError as error:
        raise InvalidInputError(
            f"`{line}` names no server: expected `openai:MODEL@http://HOST:PORT/v1`"
        ) from error


def _made(
    name: str,
    found: ConfiguredModel,
    configured: Mapping[str, ConfiguredModel],
    notice: Callable[[str], None],
) -> Backend:
    match found:
        case ScriptedModel(script=script):
            return ScriptedBackend(load_script(configuration_path().parent / script), name=name)
        case RoutedModel(models=names):
            return _routed(name, names, configured, notice)
        case OpenAIModel() | AnthropicModel():
            return _served(name, found, notice)


def _served(name: str, found: OpenAIModel | AnthropicModel, notice: Callable[[str], None]) -> Backend:
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
    )
    patience = Patience(attempts=found.attempts, notice=notice)
    if isinstance(found, OpenAIModel):
        return OpenAIBackend(server, name=name, patience=patience)
    return AnthropicBackend(server, name=name, patience=patience)


def _routed(
    name: str,
    names: tuple[str, ...],
    configured: Mapping[str, ConfiguredModel],
    notice: Callable[[str], None],
) -> Backend:
    from agent_runner.backends.route import RouteBackend  # noqa: PLC0415 - only a route needs it

    for each in names:
        if isinstance(configured.get(each), RoutedModel | None):
            what = (
                f"route `{name}` names `{each}`, which is no model of the configuration that answers itself"
            )
            raise InvalidInputError(what, hint=f"configured: {', '.join(sorted(configured))}")
    made = tuple(_made(each, configured[each], configured, notice) for each in names)
    return RouteBackend(made, name=name, notice=notice)


def _how_to_configure(path: Path) -> str:
    return (
        f"name one with `--model scripted:FILE`, or write these lines to {path}:\n"
        "  version: 1\n"
        "  models:\n"
        "    default: {backend: openai, base_url: 'http://127.0.0.1:8000/v1', model: NAME}\n"
        "a server that wants a key: add `key: {env: NAME}`; Claude: `backend: anthropic`"
    )


def read_configuration(path: Path) -> Configuration:
    """Read the configuration; a missing one is empty.

    Raises:
        InvalidInputError: When it is not valid, with file:line:column.
    """
    if not path.exists():
        return Configuration(version=1)
    return read_checked(path, Configuration, what="configuration", maximum_bytes=MAXIMUM_BYTES)
