"""Sessions for the audit commands to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from audit.event import ActionIntended, ModelAnswered
from audit.fields import Reason, ToolCall
from audit.journal import Journal, Registration
from tests.audit.samples import SECRET, Samples

if TYPE_CHECKING:
    from pathlib import Path

Run = Callable[..., tuple[int, str, str]]
"""Runs a command; gives its exit code, stdout and stderr."""
OTHER = "zzzzzzzzzzzz"
HOSTILE = "a\x1b[2J\u202e\ud800\r\nb\x9b31m"
SHOWN = "a\\x1b[2J\\u202e\\ud800\\r\\nb\\x9b31m"
POLICY = "version: 1\nname: p\ngrant: [files]\ncommands:\n  allow: [files read]\n"
READ, WRITE = ("files", "read", "src/app.py"), ("files", "write", "a.txt", "--content", "x")


async def record(state: Path, session: str, *actions: tuple[str, ...], denied: str = "") -> None:
    """Record a session in which a model proposed these command lines."""
    samples = Samples()
    samples.session = session
    journal = Journal.create(
        state, session, registration=Registration(grant="files"), secrets_by_name={"token": SECRET}
    )
    async with journal:
        await journal.record(samples.opened(journal.commit("mend the tests")))
        for number, argv in enumerate(actions):
            await journal.record(_reply(number, argv))
            await journal.record(_intended(session, number, argv, denied=denied))
            if argv[1] != denied:
                await journal.record(samples.finished(number, journal.commit(f"output of {number}")))
        await journal.close(samples.closed())


def _reply(number: int, argv: tuple[str, ...]) -> ModelAnswered:
    call = ToolCall(call=f"c{number}", name="", arguments=" ".join(f"'{word}'" for word in argv))
    return ModelAnswered(
        turn=number,
        backend="scripted",
        model="m",
        text=None,
        tool_calls=(call,),
        input_tokens=9,
        output_tokens=1,
        cached_tokens=3,
        duration_ms=1,
    )


def _intended(session: str, number: int, argv: tuple[str, ...], *, denied: str) -> ActionIntended:
    refused = argv[1] == denied
    return ActionIntended(
        action=f"{session}/{number}",
        argv=argv,
        command=" ".join(argv[:2]),
        arguments={"path": argv[-1]},
        verdict="denied" if refused else "allowed",
        reasons=(Reason(code="command", message="it is not allowed"),) if refused else (),
        call=f"c{number}",
    )


def spoilt(lines: list[bytes]) -> list[bytes]:
    """Change the fifth entry, an outcome, and leave the rest as it is."""
    return [*lines[:4], lines[4].replace(b'"exit_code":0', b'"exit_code":1'), *lines[5:]]
