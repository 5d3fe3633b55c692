"""Fold entries into when the session waited for what: the model, the sandbox, the ledger, a person."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from agent_runner.report.recent import Recent
from audit import event

if TYPE_CHECKING:
    from agent_runner.report.moment import Moment
    from audit.fields import Event

Lane: TypeAlias = Literal["model", "sandbox", "person"]
COLUMNS: Final = 1000
"""Into how many equal pieces the session's time is cut to be drawn."""
MOST_WAITS: Final = 5


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time.

    Attributes:
        begin: In milliseconds of the session's running time.
        end: The same; never before `begin`.
    """

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that the session waited for.

    Attributes:
        length_ms: How long.
        seq: The entry at which it began.
        lane: For what.
    """

    length_ms: int
    seq: int
    lane: Lane


@dataclass(slots=True)
class Times:
    """What time was spent on; lanes of one session's timeline."""

    spans: dict[Lane, list[Span]] = field(default_factory=lambda: {"model": [], "sandbox": [], "person": []})
    totals: dict[str, int] = field(default_factory=dict)
    """Milliseconds by the session's own account; empty until it has ended, and again once it goes on."""
    longest: list[Wait] = field(default_factory=list)
    """The longest waits, the longest first."""
    _begun: dict[Lane, Moment] = field(default_factory=dict)
    _actions: Recent[Moment] = field(default_factory=Recent)

    def take(self, now: Moment, happened: Event) -> None:
        """Take in an entry."""
        match happened:
            case event.SandboxCreated():
                self._begun["sandbox"] = now
            case event.SandboxAttested():
                self._end("sandbox", now)
            case event.ModelAsked():
                self._begun["model"] = now
            case event.ModelAnswered() | event.ModelFailed():
                self._replied(now, again=isinstance(happened, event.ModelFailed) and happened.will_retry)
            case event.ApprovalRequested():
                self._begun["person"] = now
            case event.ApprovalAnswered(action=action):
                self._end("person", now)
                self._actions.put(action, now)
            case event.ActionIntended(verdict="allowed", action=action):
                self._actions.put(action, now)
            case event.ActionFinished(action=action):
                self._acted(action, now)
            case event.SessionClosed() | event.SessionRecovered():
                self.totals = _account_of(happened)
            case _:
                pass

    def spent_ms(self, lane: str) -> int | None:
        """Return the milliseconds spent on something; None where only the session's end would tell."""
        if self.totals:
            return self.totals[lane]
        spans = self.spans.get(lane)  # type: ignore[call-overload]  # the ledger has no spans of its own
        return None if spans is None else sum(span.end - span.begin for span in spans)

    def _replied(self, now: Moment, *, again: bool) -> None:
        """End the wait for a model; one that is asked again is waited for still, written down anew or not."""
        self._end("model", now)
        if again:
            self._begun["model"] = now

    def _end(self, lane: Lane, now: Moment) -> None:
        begun = self._begun.pop(lane, None)
        if begun is not None:
            self._add(lane, begun, now)

    def _acted(self, action: str, now: Moment) -> None:
        begun = self._actions.get(action)
        if begun is not None:
            self._add("sandbox", begun, now)

    def _add(self, lane: Lane, begun: Moment, now: Moment) -> None:
        """Add a span, joined with the one before where they touch."""
        begin, end = begun.ms, now.ms
        waits = [*self.longest, Wait(end - begin, begun.seq, lane)]
        self.longest = sorted(waits, key=lambda wait: -wait.length_ms)[:MOST_WAITS]
        spans = self.spans[lane]
        if spans and begin <= spans[-1].end:
            spans[-1] = Span(min(spans[-1].begin, begin), max(spans[-1].end, end))
        else:
            spans.append(Span(begin, end))


def _account_of(happened: event.SessionClosed | event.SessionRecovered) -> dict[str, int]:
    """Return what the account of a session's end says; nothing where the session goes on."""
    if isinstance(happened, event.SessionRecovered):
        return {}
    told = happened.totals
    return {
        "model": told.model_ms,
        "sandbox": told.sandbox_ms,
        "ledger": told.ledger_ms,
        "person": told.waiting_ms,
    }


def drawn(spans: list[Span], whole_ms: int) -> list[tuple[int, int]]:
    """Return where to draw spans, as (first column, columns), those in one column joined.

    Args:
        spans: In order of their beginnings.
        whole_ms: The session's running time in milliseconds.
    """
    found: list[tuple[int, int]] = []
    for span in spans:
        begin = min(COLUMNS - 1, span.begin * COLUMNS // max(1, whole_ms))
        end = min(COLUMNS, max(begin + 1, span.end * COLUMNS // max(1, whole_ms)))
        if found and begin <= sum(found[-1]):
            first = found[-1][0]
            found[-1] = (first, max(sum(found[-1]), end) - first)
        else:
            found.append((begin, end - begin))
    return found
