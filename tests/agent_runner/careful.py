"""A model that does its steps in order, and does again what it is told nobody knows the outcome of.

Run as a program it works in a folder, and is killed with SIGKILL at one boundary of its ledger.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent_runner.backends.backend import (
    Call,
    ModelMessage,
    ObservationMessage,
    Reply,
    Usage,
    UserMessage,
)
from audit.journal import Journal
from cli_tools.action import LineProposal, ToolProposal
from tests.agent_runner.stand import Model, Stand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Message
    from audit.fields import Event
    from cli_tools.action import Proposal

WRITE: Final = '{"path": "b", "content": "two"}'
Steps = tuple[tuple["Proposal", ...], ...]
STEPS: Final[Steps] = (
    (LineProposal(line="files list"),),
    (LineProposal(line="files write a", body=b"\xffone\n"), LineProposal(line="files read a")),
    (LineProposal(line="http get https://example.com/"), ToolProposal(tool="files_read", arguments="{")),
    (LineProposal(line="files read missing"), ToolProposal(tool="files_write", arguments=WRITE)),
    (LineProposal(line="files move b c"),),
    (LineProposal(line="files remove old"), LineProposal(line="finish --status done ready")),
)  # fmt: skip
AGAIN: Final = "again"


def careful(steps: Steps = STEPS, below: Steps = ()) -> Model:
    """Return the model; all that it knows is in the conversation.

    Args:
        steps: What it does, turn by turn.
        below: What it does in a session below one.
    """
    return Model(lambda messages, _: _next(messages, steps if _task(messages) == "a test" else below))


def _task(messages: Sequence[Message]) -> str:
    return next(message.text for message in messages if isinstance(message, UserMessage))


def _next(messages: Sequence[Message], steps: Steps) -> Reply:
    replies = [m.reply for m in messages if isinstance(m, ModelMessage)]
    unknown = {
        message.call_id
        for message in messages
        if isinstance(message, ObservationMessage) and message.text.startswith(("unknown:", "not done:"))
    }
    if replies and (repeated := [call.proposal for call in replies[-1].calls if call.call_id in unknown]):
        return _reply(len(replies), tuple(repeated), AGAIN)
    step = sum(reply.text != AGAIN for reply in replies)
    return _reply(len(replies), steps[step], "")


def _reply(turn: int, proposals: tuple[Proposal, ...], text: str) -> Reply:
    calls = (Call(call_id=f"{turn}-{n}", proposal=proposal) for n, proposal in enumerate(proposals))
    return Reply(text=text, calls=tuple(calls), usage=Usage(input_tokens=7, output_tokens=3))


def prepare(folder: Path) -> None:
    """Put into the workspace what the steps count on."""
    folder.mkdir(exist_ok=True)
    (folder / "old").write_text("old")


def kill_at(number: int, *, written: bool) -> None:
    """Let this process die at an entry of its ledger: just before it is written, or when it is durable.

    What was recorded ahead of an entry is lost with it, as it mostly would be: within 100 ms nothing else
    makes it durable.
    """
    original, ahead, count = Journal._sent, Journal.record_ahead, 0

    def counted() -> bool:
        nonlocal count
        count += 1
        if count == number and not written:
            os.kill(os.getpid(), signal.SIGKILL)
        return count == number

    async def sent(self: Journal, *arguments: Any) -> Any:
        is_last = counted()
        receipt = await original(self, *arguments)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return receipt

    def recorded_ahead(self: Journal, happened: Event) -> None:
        is_last = counted()
        ahead(self, happened)
        if is_last:
            while self._ahead is not None and self._ahead.answer is None:
                self._opened().writer.write_now()
            os.kill(os.getpid(), signal.SIGKILL)

    Journal._sent = sent  # type: ignore[method-assign, assignment]  # the one way to die exactly here
    Journal.record_ahead = recorded_ahead  # type: ignore[method-assign]  # likewise


if __name__ == "__main__":
    place, number, when = sys.argv[1:]
    kill_at(int(number), written=when == "after")
    asyncio.run(Stand(Path(place)).run(careful()))
