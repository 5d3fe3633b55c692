"""Say what NVIDIA Dynamo is told beside a conversation, and read what it tells beside a reply. Pure.

Seen with Dynamo 1.6.1: a header keeps a session with one worker, `nvext.agent_hints` goes to its router and
scheduler, `nvext.extra_fields` brings timings back, `/v1/models/{id}/ready` says whether workers are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from agent_runner.backends.failure import Failure, ModelServerError, one_line, said
from agent_runner.backends.pieces import items, members
from policies.leaves import CountField

if TYPE_CHECKING:
    from collections.abc import Mapping

SESSION_HEADER: Final = "x-dynamo-session-id"
EXTRA_FIELDS: Final = ("timing",)
HINTS: Final = frozenset({"priority", "osl", "speculative_prefill"})


class Dynamo(BaseModel):
    """What Dynamo is told of a model's sessions; with no member, each session keeps its worker."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    """Higher goes before lower in Dynamo's queues; None says nothing."""
    expected_output: CountField | None = None
    """How many tokens a reply is expected to have; None says nothing."""
    speculative_prefill: bool = False
    """Whether Dynamo fills its cache with the next turn's beginning while the agent acts."""

    def beside(self) -> dict[str, object]:
        """Return the request's member `nvext`."""
        hints: dict[str, object] = {}
        if self.priority is not None:
            hints["priority"] = self.priority
        if self.expected_output is not None:
            hints["osl"] = self.expected_output
        if self.speculative_prefill:
            hints["speculative_prefill"] = True
        return {**({"agent_hints": hints} if hints else {}), "extra_fields": list(EXTRA_FIELDS)}


def ready_path(model: str) -> str:
    """Return where a server says whether a model is ready, below its base URL."""
    return f"/models/{quote(model, safe='')}/ready"


def require_ready(where: str, status: int, body: object) -> None:
    """Return when a model is ready.

    Args:
        where: How messages call the server.
        status: What it answered.
        body: What it said.

    Raises:
        ModelServerError: When it is not, or not yet: that is worth another try.
    """
    facts = members(body)
    if status == 200 and facts.get("ready") is True:
        return
    missing = [
        str(name)
        for space in members(facts.get("namespaces")).values()
        for name in items(members(space).get("missing_worker_types"))
    ]
    waits = f"it waits for workers: {', '.join(missing)}" if missing else ""
    why = waits or said(body) or "it does not say why"
    raise ModelServerError(
        f"{where} has the model not ready: {one_line(why)}",
        failure=Failure(kind="overloaded", status=status if status != 200 else 503),
        hint="it is served once its workers have registered: see their logs",
    )


def is_of_its_worker(failure: Failure) -> bool:
    """Say whether the worker that a session is bound to may be gone: another name has another worker answer.

    Under the same one it is sent to the dead worker until Dynamo misses that: ten seconds of 500 and 503. One
    that hangs is left as well; one that refuses the question, with 500 too, lives and has its cache.
    """
    if failure.kind == "overloaded":
        return failure.status in {500, 503}
    return failure.kind in {"broken", "timeout"}


def hit_rate(chunk: Mapping[str, object]) -> float:
    """Return the share of the prompt that the router found in a worker's cache; 0 where it tells none."""
    rate = members(members(chunk.get("nvext")).get("timing")).get("kv_hit_rate")
    return float(rate) if isinstance(rate, int | float) and 0 <= rate <= 1 else 0.0
