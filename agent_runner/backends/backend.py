"""Say what the loop needs of a model: one question, one reply. Knows no provider."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.media import Media
    from cli_tools.action import Proposal
    from cli_tools.schema import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One action that a model proposes."""

    call_id: str
    """The backend's own name for the call, unique in a session."""
    proposal: Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one model call, as the backend counted them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Part of `input_tokens` that was served from the backend's prefix cache."""
    cache_write_tokens: int = 0
    """Part of `input_tokens` that the backend put into its prefix cache, where it counts that."""
    cost_micros: int = 0
    """Millionths of a US dollar, by the operator's price; 0 where there is none."""
    estimated: bool = False
    """Whether the backend counted nothing, and the figures are a token for every four characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A model that was asked for a reply and gave none."""

    model: str
    """As the ledger keeps it."""
    error: str
    """One line: why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought:
    """What a model thought, as its server sealed it: it goes back to that server as it came, unread."""

    by: str
    """Whose it is, as a digest: no other model may be shown it."""
    sealed: str
    """A JSON object."""
    characters: int
    """Of the reply's text that stand before it."""
    calls: int
    """Of the reply that stand before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a model said."""

    text: str
    calls: tuple[Call, ...] = ()
    usage: Usage = field(default_factory=Usage)
    reasoning: str = ""
    """What the model thought aloud: never its text, and sent back only to a server that asks for it."""
    reasoning_by: str = field(default="", compare=False)
    """Whose that is: no other model may be shown it; empty where it goes back to none."""
    thoughts: tuple[Thought, ...] = field(default=(), compare=False)
    """What it thought, sealed."""
    by: str = ""
    """The model that gave it, as the ledger keeps it, where a backend asks one of several; else empty."""
    tried: tuple[Tried, ...] = ()
    """Models that were asked before and did not answer."""
    stop: str = field(default="", compare=False)
    """Why the model stopped, in the server's word; empty where it says none."""
    first_token_seconds: float | None = field(default=None, compare=False)
    """From the question to the first piece of the reply; None where it came in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemMessage:
    """What the runner tells the model once, first."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMessage:
    """What the user, or the runner for the user, says."""

    text: str
    media: tuple[Media, ...] = ()
    """Pictures that stand before it; only an agent in `pairlock exec` sends any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMessage:
    """What the model said, kept as it came."""

    reply: Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationMessage:
    """What came of one call."""

    call_id: str
    text: str
    refused: bool
    """Whether the action was denied or failed."""


Message = SystemMessage | UserMessage | ModelMessage | ObservationMessage


class Backend(Protocol):
    """Answer a conversation."""

    @property
    def kind(self) -> str:
        """Return the kind of backend, for example `scripted`."""
        ...

    @property
    def model(self) -> str:
        """Return the model's name, as the ledger keeps it."""
        ...

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """Return the model's next words.

        Args:
            messages: The whole conversation; it only ever grows at its end.
            tools: The tools on offer, in a stable order.

        Raises:
            agent_runner.errors.BackendError: When no reply could be had.
        """
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


@runtime_checkable
class PricedBackend(Protocol):
    """A backend that may know what its tokens cost."""

    def priced(self, usage: Usage) -> Usage:
        """Return a usage with its cost, by the operator's price; as it is where there is none."""
        ...


def is_priced(backend: Backend) -> bool:
    """Say whether the operator named a price for what a backend's model reads or says."""
    much = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    return isinstance(backend, PricedBackend) and backend.priced(much).cost_micros > 0
