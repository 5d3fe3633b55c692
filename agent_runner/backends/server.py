"""Say what the operator configured of one model's server."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from agent_runner.backends.configuration import Price
    from agent_runner.backends.dynamo import Dynamo
    from agent_runner.backends.key import KeyReference


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A model's server, as the operator configured it."""

    base_url: str
    model: str
    key: KeyReference | None = None
    timeout_seconds: float = 600.0
    """The longest that one attempt may take."""
    silence_seconds: float = 120.0
    """The longest wait for the next byte."""
    output_tokens: int | None = None
    """The longest reply; None leaves it to the server, where its API does."""
    stream: bool = True
    """Whether replies come in pieces; off for a server whose tool calls break in a stream."""
    parallel_calls: bool = True
    """Whether a reply may hold several calls."""
    prompt_cache: bool = True
    """Whether the stable beginning is marked for the server's cache; only Anthropic's API has marks."""
    proxy: str | None = None
    price: Price | None = None
    """What its tokens cost; None where the operator does not say."""
    dynamo: Dynamo | None = None
    """What NVIDIA Dynamo is told beside the conversation; None for other servers."""
    seed: int | None = None
    """For what a server draws at random, where its API takes one; None leaves it to the server."""

    @property
    def where(self) -> str:
        """Return how messages call it: host and port."""
        url = httpx2.URL(self.base_url)
        return f"`{url.netloc.decode('ascii', 'replace')}`"

    @property
    def author(self) -> str:
        """Return whose a model's thoughts are: a digest, as the ledger keeps it beside them."""
        return hashlib.sha256(f"{self.model} at {self.base_url}".encode()).hexdigest()
