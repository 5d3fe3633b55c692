"""Say what the operator's configuration may hold: models, their servers, keys by reference, prices."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from agent_runner.backends.checked_yaml import read_checked
from agent_runner.backends.dynamo import Dynamo
from agent_runner.backends.key import KeyReference
from agent_runner.connectors_configured import ConfiguredConnectors
from agent_runner.credentials import CredentialReference
from agent_runner.webhook import ConfiguredApprovals
from policies.leaves import CountField, DurationField
from policies.units import Seconds

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.backends.backend import Reply, Usage

MAXIMUM_BYTES: Final = 1024 * 1024
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def _checked_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_server = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        is_server = False
    if not is_server or not value.isascii():
        raise ValueError("expected the URL of a server, as in `https://HOST/PATH`")
    if "@" in parts.netloc:
        raise ValueError("a URL may not hold a name or password: give the key as `key`")
    if parts.query or parts.fragment:
        raise ValueError("a URL may not hold a query or fragment, expected `https://HOST/PATH`")
    return value.rstrip("/")


Role = Literal["main", "small"]
"""`main` is the session's own talk; `small` is for what costs less: summaries, and an agent's small model."""
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
    cache_write: Dollars | None = None
    """For input that the server put into its cache, where it counts that; else what `input` says."""

    def counted(self, reply: Reply) -> Reply:
        """Return a reply that knows what it cost."""
        return replace(reply, usage=self.priced(reply.usage))

    def priced(self, usage: Usage) -> Usage:
        """Return a usage with what it cost."""
        return replace(usage, cost_micros=round(self.dollars(usage) * 1_000_000))

    def dollars(self, usage: Usage) -> float:
        """Return what a reply cost."""
        cached = self.input if self.cached is None else self.cached
        write = self.input if self.cache_write is None else self.cache_write
        fresh = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
        asked = fresh * self.input + usage.cached_tokens * cached + usage.cache_write_tokens * write
        return (asked + usage.output_tokens * self.output) / 1_000_000


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
    context: CountField | None = None
    """Tokens that the model takes in; None where nobody says."""
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
    dynamo: Dynamo | None = None
    """What NVIDIA Dynamo is told beside the conversation; for other servers it is left out."""

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
    """Several models as one: by role, by weight, and the next where one does not answer."""

    backend: Literal["route"]
    models: Annotated[tuple[str, ...], Field(min_length=2, max_length=16, strict=False)]
    """Names of this configuration, in the order in which they are asked."""
    weights: dict[str, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(default_factory=dict)
    """How often each is the first to be asked, beside the others; one that is left out never is. Without
    weights the first of `models` always is."""
    roles: dict[Role, str] = Field(default_factory=dict)
    """Which of `models` is asked first for a role."""

    @model_validator(mode="after")
    def _known(self) -> RoutedModel:
        strange = [name for name in (*self.weights, *self.roles.values()) if name not in self.models]
        if strange:
            raise ValueError(f"`{strange[0]}` is not among `models`")
        if len(set(self.models)) < len(self.models):
            raise ValueError("`models` names one twice")
        if self.weights and not any(self.weights.values()):
            raise ValueError("`weights` are all 0, so that none would be asked first")
        return self


class ReplayedModel(_Strict):
    """A recorded session in a model's place."""

    backend: Literal["replay"]
    session: Annotated[str, Field(min_length=4, max_length=4096)]
    """The session's id, or its folder in a state folder."""


class InstalledModel(_Strict):
    """A model of a backend that another package brings."""

    backend: Literal["installed"]
    kind: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")]
    """The entry point's name in the group `pairlock.backends`."""
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    """What the backend is made with; it says what they mean."""
    price: Price | None = None


ConfiguredModel = Annotated[
    ScriptedModel | OpenAIModel | AnthropicModel | RoutedModel | ReplayedModel | InstalledModel,
    Field(discriminator="backend"),
]


class Configuration(_Strict):
    """The operator's configuration."""

    version: Literal[1]
    models: dict[str, ConfiguredModel] = Field(default_factory=dict)
    """Names, and what they stand for; `default` is used when none is named."""
    credentials: dict[str, CredentialReference] = Field(default_factory=dict)
    """Names that policies use, and where their values are to be had."""
    connectors: ConfiguredConnectors = Field(default_factory=ConfiguredConnectors)
    """The servers behind `slack` and `mail`."""
    approvals: ConfiguredApprovals | None = None
    """Who else is asked where a rule says `ask`; None for nobody but whoever sits at a terminal."""


def read_configuration(path: Path) -> Configuration:
    """Read the configuration; a missing one is empty.

    Raises:
        InvalidInputError: When it is not valid, with file:line:column.
    """
    if not path.exists():
        return Configuration(version=1)
    return read_checked(path, Configuration, what="configuration", maximum_bytes=MAXIMUM_BYTES)
