"""A model that delegates; run as a program it dies with SIGKILL while the session below is at work."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.backends.backend import ModelMessage, UserMessage
from tests.agent_runner.stand import FINISH, Model, Stand, lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runner.backends.backend import Message, Reply

POLICY = 'version: 1\nname: x\ngrant: [files]\ncommands: {allow: ["files *", delegate]}\n'


def delegating(*, dies: bool) -> Model:
    """Return a model whose child takes two turns, and kills this process in its third, where it dies."""

    def answer(messages: Sequence[Message], _: int) -> Reply:
        turn = sum(isinstance(message, ModelMessage) for message in messages)
        task = next(message.text for message in messages if isinstance(message, UserMessage))
        if task == "a test":
            return FINISH if turn else lines("delegate look")
        if turn == 2 and dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return lines(f"files list --depth {turn + 1}")

    return Model(answer)


if __name__ == "__main__":
    stand = Stand(Path(sys.argv[1]))
    asyncio.run(stand.run(delegating(dies=True), POLICY, may_delegate=True))
