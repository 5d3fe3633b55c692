"""Ask a person whether one action may happen. What is shown is exactly what will run; time out is no."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from audit.escape import escape_line
from policies.request import Allowed, Denied, NeedsApproval, Reason

if TYPE_CHECKING:
    from cli_tools.action import Action

WAIT_SECONDS: Final = 300.0


class NobodyApprover:
    """Say no: there is nobody to ask."""

    async def approve(self, action: Action, question: NeedsApproval) -> Allowed | Denied:  # noqa: ARG002 - the protocol's parameter
        """Return a denial with the question's own reasons."""
        return Denied(question.reasons)


class TerminalApprover:
    """Ask at the terminal."""

    async def approve(self, action: Action, question: NeedsApproval) -> Allowed | Denied:
        """Show the whole command line and wait for `yes`."""
        print(file=sys.stderr)
        print(f"approve?  {' '.join(escape_line(word) for word in action.argv)}", file=sys.stderr)
        if action.body is not None:
            print(f"          with {len(action.body)} bytes of content", file=sys.stderr)
        for reason in question.reasons:
            print(f"          {escape_line(reason.message)}", file=sys.stderr)
        print("type yes to allow it once: ", end="", file=sys.stderr, flush=True)
        answer = await _line_within(WAIT_SECONDS)
        if answer is not None and answer.strip() == "yes":
            return Allowed(egress=question.egress)
        why = "nobody answered in time" if answer is None else "a person said no"
        return Denied((Reason(question.reasons[0].code, f"not approved: {why}"),))


async def _line_within(seconds: float) -> str | None:
    """Read a line from the terminal, None when the time is over."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()
    descriptor = sys.stdin.fileno()

    def read() -> None:
        if not line.done():
            line.set_result(sys.stdin.readline())

    loop.add_reader(descriptor, read)
    try:
        async with asyncio.timeout(seconds):
            return await line
    except TimeoutError:
        return None
    finally:
        loop.remove_reader(descriptor)
