"""Serve the commands that programs call inside: through the same gate as the model's, and back to the caller.

A program may be anything that the agent chose or wrote, so what it says of itself binds nothing: the gate
decides on the words alone. Its calls are bounded in number, at once and in depth.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from cli_tools.action import WordsProposal
from cli_tools.errors import ActionError, UsageError
from cli_tools.observation import of_error
from cli_tools.offer import ALWAYS, offers
from cli_tools.stub_records import ERRORS, OUT, SEND_INPUT, Caller, exit_record, record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cli_tools.action import Catalogue
    from cli_tools.gate import Gate
    from cli_tools.observation import Observation
    from cli_tools.record import Record
    from cli_tools.stub_records import Call
    from policies.policy import Policy

MOST_CALLS: Final = 10_000
"""Of one runner's life: each is written down twice, and the ledger is not a program's to fill."""
MOST_WORDS_BYTES: Final = 64 * 1024 * 1024
"""Of all its calls' words, for the same reason; a character of theirs may take six in the ledger."""
MOST_AT_ONCE: Final = 16
"""Calls that act at once; more of them wait."""
MOST_STARTING: Final = 16
"""Calls at once that start programs, which may call again, so that none of these waits for another. Programs
within programs count, and so are bounded in depth."""
MOST_READING: Final = 4
"""Callers at once whose standard input is read or acted upon: each may send 16 MiB. Programs that start
with theirs count in `MOST_STARTING`."""
CALL_SECONDS: Final = 30.0
"""For a call to arrive, once a program has connected."""
USAGE: Final = 102
DENIED: Final = 103
FAILED: Final = 101
SPENT: Final = 105
"""Codes of the stub's own: 100 and the command line's; below are the command's."""
_NOT_ON_PATH: Final = (ALWAYS[0], "delegate", "output")
"""`finish` and `delegate` are the model's to say, and `output last` shows what the model was shown."""


class Stubs:
    """Serve calls; each connection is one (`sandbox.connection.Relay`).

    Args:
        gate: Decides, journals, acts.
        catalogue: The commands that exist.
        policy: What the session offers.
        record: Where it is written down that they have called too often.
        spend: Counts one action against the session's budget, or says that none is left (`ActionError`).
    """

    def __init__(
        self, gate: Gate, catalogue: Catalogue, policy: Policy, record: Record, *, spend: Callable[[], None]
    ) -> None:
        self._gate = gate
        self._catalogue = catalogue
        self._record = record
        self._spend = spend
        offered = {offer.command.path[0] for offer in offers(catalogue, policy)}
        self.names = tuple(sorted(offered - {*_NOT_ON_PATH}))
        """What stands on PATH inside."""
        self._left = MOST_CALLS
        self._words_left = MOST_WORDS_BYTES
        self._words_told = False
        self._starting = 0
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._reading = asyncio.Semaphore(MOST_READING)

    async def __call__(
        self,
        received: AsyncIterator[bytes],
        send: Callable[[bytes], Awaitable[None]],
        end: Callable[[], None],
    ) -> None:
        """Serve one call to its end; a caller that goes before has its action cancelled."""
        caller = Caller(received)
        with suppress(EOFError):
            seen = await self._answered(caller, send)
            await send(b"".join(_told(seen)))  # at once: each piece would wake three processes on its way
        end()

    async def _answered(self, caller: Caller, send: Callable[[bytes], Awaitable[None]]) -> Observation:
        try:
            await self._count()
            async with asyncio.timeout(CALL_SECONDS):
                call = await caller.call()
            if call.words[0] in _NOT_ON_PATH:
                raise UsageError("usage", f"`{call.words[0]}` is no command for programs")
            await self._count_words(call.words)
            if not self._takes_input(call.words):
                return await self._done(call, None, caller)
            async with self._reading:
                await send(record(SEND_INPUT))
                body = await caller.standard_input()
                # INVARIANT: what was read is kept only while it is counted: here, or among the programs that
                # start, which are refused and do not wait. One of those holds no place that its own need.
                if not self._starts(call.words):
                    return await self._done(call, body, caller)
            return await self._done(call, body, caller)
        except TimeoutError:
            return of_error(ActionError("timeout", f"no call came in {CALL_SECONDS:.0f} s"), action="")
        except ActionError as error:
            return of_error(error, action="")

    async def _done(self, call: Call, body: bytes | None, caller: Caller) -> Observation:
        proposal = WordsProposal(words=call.words, body=body or None)
        return await _while_wanted(self._acted(proposal, call.parent), caller)

    async def _count_words(self, words: tuple[str, ...]) -> None:
        size = sum(len(word.encode("utf-8", "surrogateescape")) + 1 for word in words)
        if size > self._words_left:
            if not self._words_told:
                self._words_told = True
                observed = MOST_WORDS_BYTES - self._words_left + size
                await self._record.words_spent(bound=MOST_WORDS_BYTES, observed=observed)
            why = f"the programs of this session have called commands with {MOST_WORDS_BYTES} bytes of words"
            raise ActionError("budget", why, hint="what is long belongs on standard input")
        self._words_left -= size

    async def _count(self) -> None:
        if self._left <= 0:
            raise ActionError("budget", f"the programs of this session have called {MOST_CALLS} commands")
        self._left -= 1
        if not self._left:
            await self._record.calls_spent("", "commands by programs", bound=MOST_CALLS, observed=MOST_CALLS)

    def _takes_input(self, words: tuple[str, ...]) -> bool:
        """Say whether the words mean a command that takes content, and hold none."""
        try:
            # Content is refused where the words hold some, and where the command takes none.
            self._catalogue.parse(WordsProposal(words=words, body=b""))
        except UsageError:
            return False
        return True

    def _starts(self, words: tuple[str, ...]) -> bool:
        """Say whether the words mean a command that starts a program."""
        command = self._catalogue.named(words)
        return command is not None and bool(command.program or command.starts)

    async def _acted(self, proposal: WordsProposal, claimed: str) -> Observation:
        parent = claimed if self._gate.has_started(claimed) else ""
        if not self._starts(proposal.words):
            async with self._room:
                self._spend()
                return await self._gate.act(proposal, parent=parent)
        if self._starting >= MOST_STARTING:
            raise ActionError(
                "busy",
                f"{MOST_STARTING} programs that commands started run already, the most at once",
                hint="start the program itself: this is the container that it would run in",
            )
        self._spend()
        self._starting += 1
        try:
            return await self._gate.act(proposal, parent=parent)
        finally:
            self._starting -= 1


async def _while_wanted(acting: Awaitable[Observation], caller: Caller) -> Observation:
    """Return what came of an action; cancel it when the caller goes.

    Raises:
        EOFError: When the caller has gone.
    """
    task, gone = asyncio.ensure_future(acting), asyncio.ensure_future(caller.gone())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise EOFError
    finally:
        gone.cancel()  # it rests on nothing that is closed, and is not waited for where there is an answer
        if not task.done():
            task.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)
        elif not task.cancelled():
            task.exception()  # seen, also where this is cancelled in the same turn of the loop


def _told(seen: Observation) -> list[bytes]:
    """Return the records that show an observation to a program: the bytes themselves, and its code."""
    outcome = seen.outcome
    if outcome is None:
        return [record(ERRORS, _encoded(f"{seen.text}\n")), exit_record(_code(seen))]
    pieces = [record(OUT, outcome.text.encode("utf-8", "surrogateescape") or outcome.output)]
    pieces.append(record(ERRORS, outcome.errors))
    notes = [outcome.note]
    if outcome.truncated_bytes:
        notes.append(f"{outcome.truncated_bytes} bytes of output were dropped")
    if outcome.timed_out:
        notes.append("ended because its time was over")
    pieces += [record(ERRORS, _encoded(f"note: {note}\n")) for note in notes if note]
    return [*pieces, exit_record(min(max(outcome.exit_code, 0), 255))]


def _code(seen: Observation) -> int:
    if seen.kind == "denied":
        return DENIED
    return {"usage": USAGE, "unknown-command": USAGE, "too-long": USAGE, "budget": SPENT}.get(
        seen.code, FAILED
    )


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
