"""The backend `replay`: a recorded session answers again, exactly, for as long as it is asked the same."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

from agent_runner.backends.backend import (
    Message,
    ModelMessage,
    ObservationMessage,
    Reply,
    SystemMessage,
    UserMessage,
)
from agent_runner.errors import BackendError, InvalidInputError
from agent_runner.fold import read_past
from agent_runner.state import session_files, state_folder
from audit.escape import escape_line
from audit.state import ID_PATTERN
from cli_tools.action import LineProposal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from audit.state import SessionFiles
    from cli_tools.schema import Tool

MOST_LINES: Final = 40
"""Lines of a difference that are shown."""


class ConversationDepartedError(BackendError):
    """Raised when a session that replays another is no longer the same conversation.

    Args:
        session: The session that was recorded.
        place: The first message that differs, counted from 1.
        recorded: What it was; empty when the record ends before it.
        found: What it is now; empty when the model was asked before it.
    """

    def __init__(self, *, session: str, place: int, recorded: str, found: str) -> None:
        super().__init__(
            f"message {place} is not what session `{session}` recorded",
            hint="a replay answers only the same conversation; ask a model where it has to differ",
            detail=difference(recorded, found),
        )
        self.session = session
        self.place = place
        self.recorded = recorded
        self.found = found


class ReplayBackend:
    """Answer with a recorded session's replies. What is asked decides which: it remembers no turn.

    Args:
        recorded: The recorded conversation.
        session: Its session.
        name: How the ledger calls the model.
    """

    def __init__(self, recorded: Sequence[Message], *, session: str, name: str) -> None:
        self._recorded = tuple(recorded)
        self._session = session
        self._name = name

    @property
    def kind(self) -> str:
        """Return `replay`."""
        return "replay"

    @property
    def model(self) -> str:
        """Return the name and the recorded session."""
        return f"{self._name} ({self._session})"

    async def ask(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Reply:  # noqa: ARG002 - no ledger holds the tools
        """Return what was said to this very conversation.

        Raises:
            ConversationDepartedError: When it was another conversation.
            BackendError: When the recorded session ended here.
        """
        for place, found in enumerate(messages, start=1):
            recorded = self._recorded[place - 1] if place <= len(self._recorded) else None
            if recorded is None or _words(recorded) != _words(found):
                raise self._departed(place, recorded, found)
        if len(messages) >= len(self._recorded):
            raise BackendError(
                f"session `{self._session}` ended after {len(messages)} messages, nothing more is recorded",
                hint="a session that was cut short can be replayed up to there",
            )
        answer = self._recorded[len(messages)]
        if not isinstance(answer, ModelMessage):
            raise self._departed(len(messages) + 1, answer, None)
        return answer.reply

    def _departed(
        self, place: int, recorded: Message | None, found: Message | None
    ) -> ConversationDepartedError:
        return ConversationDepartedError(
            session=self._session,
            place=place,
            recorded=_words(recorded) if recorded is not None else "",
            found=_words(found) if found is not None else "",
        )

    async def close(self) -> None:
        """Do nothing: a ledger that was read is not held open."""


def recorded_backend(given: str, *, name: str) -> ReplayBackend:
    """Return the backend of a recorded session.

    Args:
        given: As for `recorded_session`.
        name: How the ledger calls the model.

    Raises:
        InvalidInputError: When the session ended before it began.
        audit.errors.AuditError: When there is no such session, or its ledger does not hold.
    """
    files = recorded_session(given)
    session = files.folder.name
    past = read_past(files.folder.parent.parent, session)
    return ReplayBackend(past.messages, session=session, name=name)


def recorded_session(given: str) -> SessionFiles:
    """Return the files of a recorded session.

    Args:
        given: An id or its beginning, `last`, or a session's folder, in whichever state folder it lies.

    Raises:
        InvalidInputError: When a path leads to no session's folder.
    """
    if "/" not in given:
        return session_files(given, state_folder())
    folder = Path(given).resolve()
    if not ID_PATTERN.fullmatch(folder.name) or folder.parent.name != "sessions":
        raise InvalidInputError(
            f"`{given}` is no session's folder, expected `STATE/sessions/ID`",
            hint="`pairlock audit list` shows the sessions of this user",
        )
    return session_files(folder.name, folder.parent.parent)


def _words(message: Message) -> str:
    """Return what is compared: everything that was said, and nothing that was measured."""
    match message:
        case SystemMessage(text=text):
            return f"system:\n{text}"
        case UserMessage(text=text, media=media):
            return "\n".join([f"user:\n{text}", *(each.told for each in media)])
        case ObservationMessage(call_id=call_id, text=text):
            return f"answer to call {call_id}:\n{text}"
        case ModelMessage(reply=reply):
            return "\n".join(
                [f"model:\n{reply.text}", *(f"{c.call_id}: {_call(c.proposal)}" for c in reply.calls)]
            )
        case _:
            assert_never(message)


def _call(proposal: object) -> str:
    if isinstance(proposal, LineProposal):
        body = "" if proposal.body is None else f"\n{proposal.body.decode('utf-8', 'backslashreplace')}"
        return f"{proposal.line}{body}"
    return str(proposal)


def difference(recorded: str, found: str) -> str:
    """Return the lines that differ, each escaped; a session's text is nobody's to trust."""
    lines = list(
        difflib.unified_diff(recorded.splitlines(), found.splitlines(), "recorded", "now", lineterm="", n=1)
    )
    shown = [escape_line(line, width=200) for line in lines[:MOST_LINES]]
    more = len(lines) - len(shown)
    return "\n".join([*shown, *([f"[{more} more lines]"] if more else [])])
