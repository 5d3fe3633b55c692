"""Let this user's other terminals, and a configured webhook, stop a session and answer its questions."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from agent_runner.approvals import FirstAnswer, NobodyApprover
from agent_runner.door import Door
from agent_runner.models import configured_webhook
from audit.state import StateFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent_runner.approvals import Asker


def _silent(_message: str) -> None:
    pass


@contextlib.asynccontextmanager
async def answerable(
    session: str,
    approver: Asker,
    *,
    state: Path,
    notice: Callable[[str], None] = _silent,
    alone: bool = False,
) -> AsyncIterator[Asker]:
    """Open a session's door for as long as the block lasts; yield whom the session is to ask.

    `pairlock stop` cancels the task that entered the block.

    Args:
        session: The whole id, which the session's request names.
        approver: Who is asked besides; nobody counts as none.
        state: The state folder, for those who subscribe to the session's entries.
        alone: Whether this process runs nothing else, so that `pairlock stop` may kill it in the end.
        notice: Told, in one line, what is wrong with the webhook or with its answers.

    Raises:
        RunnerError: When the folder of sockets is not this user's alone.
        InvalidInputError: When the configuration is not valid.
    """
    task = asyncio.current_task()
    files = StateFiles(state).session(session)
    door = Door(session, stop=task.cancel if task else lambda: None, files=files, alone=alone)
    webhook = configured_webhook(notice)
    somebody = () if isinstance(approver, NobodyApprover) else (approver,)
    async with door.open():
        yield FirstAnswer(*somebody, door, *((webhook,) if webhook else ()))
