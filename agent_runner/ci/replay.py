"""Answer as a recorded session's model did, while it is told what was recorded; tell the first difference.

The actions are carried out anew. What they answer is compared: not times, nor ids, which `same` names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent_runner.backends.backend import ModelMessage, ObservationMessage, SystemMessage, UserMessage
from agent_runner.backends.replay import difference
from agent_runner.ci.recording import plain
from agent_runner.errors import BackendError
from audit.escape import escape_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_runner.backends.backend import Backend, Message, Reply
    from agent_runner.ci.recording import Recording
    from cli_tools.schema import Tool

_WIDTH: Final = 100
_VARIES: Final = tuple(
    (re.compile(expression), shown)
    for expression, shown in (
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|\b ?[+-]\d\d:?\d\d)?", "<time>"),
        (r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b", "<time>"),
        (r"(?<![\w.])\d+(?:\.\d+)? ?(?:ns|us|µs|ms|s|sec|secs|seconds?|minutes?)\b", "<time>"),
        (r"\b0x[0-9a-f]{6,16}\b", "<address>"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """Where a session is no longer the one that was recorded."""

    turn: int
    """Counted from 1; 0 for what stands before the first."""
    action: str
    """What was asked for; one line, not escaped. Empty where it is no answer that differs."""
    what: str
    """In a few words, what differs."""
    expected: str
    got: str

    def text(self) -> str:
        """Return it for people: a line, and a short difference; escaped."""
        asked = f", `{escape_line(self.action, width=_WIDTH)}`" if self.action else ""
        return f"turn {self.turn}{asked}: {self.what}\n{difference(self.expected, self.got)}".rstrip("\n")


class DepartedError(BackendError):
    """Raised when a replayed session is asked what its recording has no answer to.

    Args:
        departure: Where the two part.
    """

    def __init__(self, departure: Departure) -> None:
        super().__init__(
            f"departed from its recording at turn {departure.turn}: {departure.what}",
            hint="`--replay-until-different` goes on with a model; `--record` records anew",
        )
        self.departure = departure


class RecordedModel:
    """Answer from a recording; `agent_runner.backends.backend.Backend`.

    Args:
        recording: What was said.
        session: The session that is run now: its id may stand where the recorded one's stood.
        live: Makes who goes on where the two part; None when nobody does.
    """

    def __init__(
        self, recording: Recording, *, session: str, live: Callable[[], Backend] | None = None
    ) -> None:
        self._recording = recording
        self._session = session
        self._live = live
        self._going_on: Backend | None = None
        self._turn = 0  # counted here: a conversation that has grown long is shortened
        self.departure: Departure | None = None

    @property
    def kind(self) -> str:
        """Return `replay`."""
        return "replay"

    @property
    def model(self) -> str:
        """Return the recorded model's name."""
        return self._recording.model

    @property
    def goes_on(self) -> bool:
        """Whether a model goes on where the two part."""
        return self._live is not None

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:
        """Return what was said here, or what a model says now once the two have parted.

        Raises:
            DepartedError: When this is no longer the recorded session, and nobody goes on.
        """
        if self._going_on is None:
            self.departure = self._departed(messages, self._turn)
            if self.departure is None:
                self._turn += 1
                return self._recording.turns[self._turn - 1].reply()
            if self._live is None:
                raise DepartedError(self.departure)
            self._going_on = self._live()
            await _catch_up(self._going_on, self._turn)
        return await self._going_on.ask(messages, tools)

    async def close(self) -> None:
        """Give back the connections of who went on."""
        if self._going_on is not None:
            await self._going_on.close()

    def look_back(self, messages: Sequence[Message]) -> None:
        """Compare what the last turn was answered, too, and how far the session came.

        Args:
            messages: Everything that was said, as the ledger has it.
        """
        if self.departure is not None:
            return
        turns = sum(isinstance(each, ModelMessage) for each in messages)
        self.departure = self._answers(messages, turns) or self._unsaid(turns)

    def _departed(self, messages: Sequence[Message], turn: int) -> Departure | None:
        found = self._opening(messages) if turn == 0 else self._answers(messages, turn)
        if found is None and turn >= len(self._recording.turns):
            return Departure(turn=turn + 1, action="", what="nothing more is recorded", expected="", got="")
        return found

    def _opening(self, messages: Sequence[Message]) -> Departure | None:
        """Compare what the model is told before it says anything."""
        system = next((each.text for each in messages if isinstance(each, SystemMessage)), "")
        prompt = next((each.text for each in messages if isinstance(each, UserMessage)), "")
        for what, expected, got in zip(
            ("what the session may do differs", "the prompt differs"),
            self._recording.opening,
            (system, prompt),
            strict=True,
        ):
            if expected != plain(got):
                return Departure(turn=0, action="", what=what, expected=expected, got=got)
        return None

    def _answers(self, messages: Sequence[Message], turn: int) -> Departure | None:
        """Compare the answers to the calls of a turn, which are the last ones."""
        if turn == 0 or turn > len(self._recording.turns):
            return None
        answers: list[str] = []
        for message in reversed(messages):
            if isinstance(message, ModelMessage):
                break
            if isinstance(message, ObservationMessage):
                answers.insert(0, message.text)
        calls = self._recording.turns[turn - 1].calls
        for number, call in enumerate(calls):
            expected, got = call.answered, answers[number] if number < len(answers) else None
            if expected is None or got is None:
                if expected == got:
                    continue
                what = "it was answered now alone" if expected is None else "it was answered then alone"
                return Departure(
                    turn=turn, action=call.action, what=what, expected=expected or "", got=got or ""
                )
            expected, got = self._plain(expected), self._plain(got)
            if expected != got:
                return Departure(
                    turn=turn, action=call.action, what="another answer", expected=expected, got=got
                )
        return None

    def _unsaid(self, turns: int) -> Departure | None:
        if turns >= len(self._recording.turns):
            return None
        first = self._recording.turns[turns]
        action = first.calls[0].action if first.calls else ""
        what = f"it ended here; {len(self._recording.turns)} turns are recorded"
        return Departure(turn=turns + 1, action=action, what=what, expected="", got="")

    def _plain(self, text: str) -> str:
        return same(text, (self._recording.session, self._session))


def same(text: str, sessions: Sequence[str]) -> str:
    """Return a text without what may differ between two runs: times, durations, addresses, ids.

    Args:
        text: An answer.
        sessions: The ids of the sessions that it may name.
    """
    text = plain(text)
    for session in sessions:
        text = text.replace(session, "<session>")
    for expression, shown in _VARIES:
        text = expression.sub(shown, text)
    return text


async def _catch_up(backend: Backend, turns: int) -> None:
    """Let a script pass over the turns that were replayed; no other backend remembers any."""
    if backend.kind == "scripted":
        for _ in range(turns):
            await backend.ask((), ())
