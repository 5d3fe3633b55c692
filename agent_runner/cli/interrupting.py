"""Let Ctrl-C, SIGTERM and a closed terminal end work in order, and the third of them end it at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from agent_runner.cli.exits import Exit
from agent_runner.cli.outlets import Outlets, patient_outlets
from agent_runner.cli.talk import say

T = TypeVar("T")
_LAST_WORDS_SECONDS: Final = 0.5
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Run asynchronous work; the first signal cancels it, so that it can clean up.

    The second says what is still being done: whoever presses Ctrl-C twice out of habit loses nothing. The
    third leaves as SIGKILL would, which a session survives: its sandbox ends with the link.
    """
    return interruptible_by(lambda _: work)


def interruptible_by(made: Callable[[Callable[[], None]], Coroutine[Any, Any, T]]) -> T:
    """Run work as `interruptible` does that takes the signals for a while.

    Args:
        made: Makes the work, from what is to be called for a signal once it has given them back.
    """
    interrupter = _Interrupter()

    async def guarded() -> T:
        interrupter.task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, interrupter.signalled)
            # The loop hears of it next, but it may stand still itself, waiting for a reader.
            signal.signal(number, lambda *_: interrupter.hurry())
        return await made(interrupter.signalled)

    try:
        with patient_outlets() as interrupter.outlets:
            try:
                return asyncio.run(guarded())
            finally:  # whoever reads what was printed may pause until the end of the block, too
                interrupter.go_on_counting()
    except asyncio.CancelledError:
        sys.exit(Exit.INTERRUPTED)


class _Interrupter:
    """Count the signals that a task is sent, and then what follows it."""

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.outlets: Outlets | None = None
        self._count = 0

    def go_on_counting(self) -> None:
        """Let a signal that comes when the loop has closed do no more than it would have done before.

        The account of what was interrupted is written then, and a second Ctrl-C would have cut it off.
        """
        for number in SIGNALS if self._count else ():
            signal.signal(number, lambda *_: self.signalled())

    def hurry(self) -> None:
        """Let what is said from now on wait for no reader."""
        if self.outlets is not None:
            self.outlets.hurry()

    def signalled(self) -> None:
        self._count += 1
        self.hurry()
        if self._count == 1:
            if self.task is not None:
                self.task.cancel()
        elif self._count == 2:
            say("pairlock: still closing the ledger and removing the sandbox; once more leaves at once")
        else:
            say("pairlock: left at once; `pairlock clean` removes what is left")
            if self.outlets is not None:
                self.outlets.finish(seconds=_LAST_WORDS_SECONDS)
            os._exit(Exit.INTERRUPTED)
