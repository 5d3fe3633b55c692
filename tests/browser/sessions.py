"""Sessions that try a browser: hostile ones, and long ones."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from audit import event
from audit.fields import FileUse, Reason, Rule, ToolCall
from tests.agent_runner.report.story import DENIED, SESSION, Story, begin

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

MEGABYTE: Final = 1_000_000
HOSTILE: Final = (
    "</script><script>alert('script')</script>",
    "<script src=https://evil.example/x.js></script>",
    "<!--<script>",
    "--></script>",
    "]]><img src=x onerror=alert('img')>",
    "<svg onload=alert('svg')><animate onbegin=alert(1) attributeName=x>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "<a href='javascript:alert(2)'>javascript:alert(3)</a>",
    "javascript:alert(4)",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<base href=https://evil.example/>",
    "<link rel=stylesheet href=https://evil.example/x.css>",
    "</style><style>body{display:none;background:url(https://evil.example/)}</style>",
    "<style>@import 'https://evil.example/';</style>",
    "x{}*{background:url('https://evil.example/')}",
    "<form action=https://evil.example/><input name=a autofocus onfocus=alert(5)>",
    "\"'`><body onload=alert(6)>",
    "{{constructor.constructor('alert(7)')()}} ${alert(8)} <%= alert(9) %>",
    "<details open ontoggle=alert(10)>",
    "<object data=data:text/html,<script>alert(11)</script>></object>",
    "__proto__",
    "constructor",
    "\u202egnp.exe\u2066\u2069\u200f",
    "\x1b[2J\x1b]0;title\x07\x00\x08\r\x7f\x9b",
    "\u2028\u2029\ufeff\u200b\u200d\u2060\U000e0041\u115f\u3164",
    "\ud800 lone \udfff",
    "\x01forged\x02",
    "Z" + "\u0335\u0327\u0489" * 400,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u05e9\u05dc\u05d5\u05dd abc \u0645\u0631\u062d\u0628\u0627",
)
ALL: Final = "\n".join(HOSTILE)


def written(work: Coroutine[Any, Any, None]) -> None:
    """Write a session from a test whose thread belongs to Playwright's own event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def hostile(state: Path) -> None:
    """Write a session in which everything that an agent, a model or a server can choose is hostile."""
    story = begin(state)
    async with story.journal as journal:
        await story.record(
            event.SessionOpened(
                session=SESSION,
                task=journal.commit(ALL),
                task_is_origin=True,
                grant="files+network",
                policy_origin=HOSTILE[0],
                policy_digest="ab" * 32,
                workspace=HOSTILE[4],
                model=HOSTILE[5],
                backend=HOSTILE[12],
                pairlock_version="0.1.0",
                headless=True,
            )
        )
        await story.message("system", ALL)
        await story.message("user", ALL)
        for word in HOSTILE:
            await _one(story, word)
        for line in (
            b"<b>" + b"x" * MEGABYTE,
            "\u202e".encode() * 300_000,
            b"\n" * MEGABYTE,
            bytes(range(256)) * 400,
        ):
            number = await story.intend("run", "cat", "big")
            await story.finish(number, line)
        await story.intend("run", "sh", "-c", "y" * MEGABYTE)
        await story.model("z" * MEGABYTE, ToolCall(call="c1", name="run", arguments="w" * MEGABYTE))
        diff = "".join(f"@@ -1 +1 @@\n-{word}\n+{word}\n" for word in HOSTILE).encode(
            "utf-8", "surrogatepass"
        )
        number = await story.intend("git", "diff")
        await story.finish(number, diff)
        await story.close()


async def _one(story: Story, word: str) -> None:
    reason = Reason(
        code=word.encode("utf-8", "replace").decode(),
        message=word,
        hint=word,
        rule=Rule(origin=word, line=1, column=1),
    )
    await story.model(word, ToolCall(call=word, name=word, arguments=word))
    await story.intend(word, word, verdict="denied", reasons=(reason,), call=word)
    number = await story.intend("run", word)
    await story.record(event.ProcessStarted(action=number, argv=("sh", word), folder=word))
    use = FileUse(path=word, access="changed", moved_to=word)
    await story.finish(number, word.encode("utf-8", "surrogatepass"), files=(use,), detail=word)
    connection = f"{SESSION}/c{story.actions}"
    await story.record(
        event.EgressOpened(
            connection=connection,
            host=word,
            port=443,
            scheme="https",
            verdict="denied",
            reasons=(reason,),
            address=word,
        )
    )
    await story.record(event.EgressRequested(connection=connection, method=word, path=word, verdict="denied"))
    await story.record(
        event.ModelFailed(
            turn=story.turns, backend=word, model=word, error=word, attempt=1, duration_ms=1, will_retry=False
        )
    )
    await story.record(event.LimitHit(limit="budget.turns", bound=1, observed=2, unit="turns"))
    await story.record(event.SafetyNoted(code="note", message=word))
    await story.record(event.SandboxClosed(why=word))


async def long(state: Path, entries: int) -> None:
    """Write a session of about that many entries, with a denial among every hundred."""
    story = begin(state)
    async with story.journal as journal:
        await story.open("a long task")
        for number in range(entries // 2):
            story.clock.move(20)
            name = f"{SESSION}/{number + 1}"
            denied = number % 50 == 0
            await journal.record_lazily(
                event.ActionIntended(
                    action=name,
                    argv=("files", "read", f"src/module_{number}.py"),
                    command="files read",
                    arguments={},
                    verdict="denied" if denied else "allowed",
                    reasons=(DENIED,) if denied else (),
                )
            )
            body = journal.commit(f"line of {number}\n" * (number % 60))
            await journal.record_lazily(
                event.ActionFinished(
                    action=name, outcome="ok", exit_code=0, duration_ms=12, output_bytes=9, body=body
                )
            )
        await story.close()
