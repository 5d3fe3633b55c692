"""Write sessions for the report's tests: real ledgers, by the real journal, with a clock that is turned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from audit import event
from audit.fields import Evidence, FileUse, Reason, Rule, ToolCall, Totals
from audit.journal import Journal, Registration

if TYPE_CHECKING:
    from pathlib import Path

    from audit.fields import Event

SESSION = "0123456789ab"
DIFF = """--- a/src/dates.py
+++ b/src/dates.py
@@ -1,2 +1,2 @@
 def parse(text):
-    return None
+    return text
"""
FAILURE = """F.                                     [100%]
=== FAILURES ===
____ test_parse ____
E  assert None == '2026-01-31'
1 failed, 1 passed in 0.12s
"""
DENIED = Reason(
    code="host",
    message="no rule of the policy allows `evil.example`",
    hint="add a rule for the host to `network.allow`, or do without",
    rule=Rule(origin="pairlock.yaml", line=14, column=5),
)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    wall: int = 1_790_000_000_000_000
    mono: int = 9_000_000

    def wall_us(self) -> int:
        """Return the time in microseconds."""
        return self.wall

    def monotonic_us(self) -> int:
        """Return the monotonic time in microseconds."""
        return self.mono

    def move(self, milliseconds: int) -> None:
        """Let time pass."""
        self.wall += milliseconds * 1000
        self.mono += milliseconds * 1000


@dataclass
class Story:
    """A session that is being written."""

    journal: Journal
    clock: Clock
    actions: int = 0
    turns: int = 0
    session: str = SESSION
    calls: list[str] = field(default_factory=list)

    async def record(self, happened: Event, *, after_ms: int = 0) -> None:
        """Write an entry, some time after the one before."""
        self.clock.move(after_ms)
        await self.journal.record(happened)

    async def open(self, task: str, *, digest: str = "ab" * 32, grant: str = "files+exec") -> None:
        """Write the session's start and its sandbox."""
        await self.record(
            event.SessionOpened(
                session=self.session,
                task=self.journal.commit(task),
                task_is_origin=True,
                grant=grant,
                policy_origin="fix-tests (built in)",
                policy_digest=digest,
                workspace="/home/ada/freetime",
                model="claude-sonnet-4-5",
                backend="anthropic",
                pairlock_version="0.1.0",
                headless=False,
            )
        )
        await self.record(
            event.SandboxCreated(
                runtime="runc",
                engine_version="20.10.24",
                image_digest="sha256:" + "5d" * 32,
                container="c0ffee" * 10 + "abcd",
                spec_digest="12" * 32,
                stage_strategy="overlay",
                stage_reason="a local engine, and a workspace of this user",
                quota="project quota of 64 MiB",
            ),
            after_ms=180,
        )
        checks = (
            "seccomp mode",
            "no new privileges",
            "capabilities",
            "interfaces",
            "execve",
            "uid",
            "writable mounts",
        )
        evidence = tuple(
            Evidence(check=check, expected="as granted", observed="as granted", source=source)
            for check in checks
            for source in ("inspect", "guest")
        )
        await self.record(event.SandboxAttested(verdict="as granted", evidence=evidence), after_ms=60)

    async def message(self, role: str, text: str) -> None:
        """Write a message."""
        await self.record(event.MessageAdded(role=role, content=self.journal.commit(text)))  # type: ignore[arg-type]  # one of the roles

    async def model(
        self, text: str, *calls: ToolCall, ms: int = 2400, tokens: tuple[int, int, int] = (1800, 160, 1500)
    ) -> None:
        """Write a question to the model and its answer."""
        self.turns += 1
        await self.record(
            event.ModelAsked(
                turn=self.turns,
                backend="anthropic",
                model="claude-sonnet-4-5",
                messages=self.journal.commit(f"digest {self.turns}", keep=False),
                message_count=2 * self.turns,
            ),
            after_ms=2,
        )
        await self.record(
            event.ModelAnswered(
                turn=self.turns,
                backend="anthropic",
                model="claude-sonnet-4-5",
                text=self.journal.commit(text) if text else None,
                tool_calls=calls,
                input_tokens=tokens[0],
                output_tokens=tokens[1],
                cached_tokens=tokens[2],
                duration_ms=ms,
                first_token_ms=ms // 6,
                stop="tool_use" if calls else "end_turn",
            ),
            after_ms=ms,
        )

    async def intend(
        self, *argv: str, verdict: str = "allowed", reasons: tuple[Reason, ...] = (), call: str = ""
    ) -> str:
        """Write what the agent asks for and what is decided; return the action's number."""
        self.actions += 1
        number = f"{self.session}/{self.actions}"
        await self.record(
            event.ActionIntended(
                action=number,
                argv=argv,
                command=" ".join(argv[:2]) if argv[0] in ("files", "http", "git") else argv[0],
                arguments={},
                verdict=verdict,  # type: ignore[arg-type]  # one of the verdicts
                reasons=reasons,
                turn=self.turns,
                call=call,
            ),
            after_ms=1,
        )
        return number

    async def finish(self, number: str, body: str | bytes, *, ms: int = 40, **more: object) -> None:
        """Write what came of an action."""
        facts: dict[str, object] = {
            "action": number,
            "outcome": "ok",
            "exit_code": 0,
            "duration_ms": ms,
            "output_bytes": len(body),
            "body": self.journal.commit(body),
        }
        await self.record(event.ActionFinished.model_validate(facts | more), after_ms=ms)

    async def close(self, **totals: int) -> None:
        """Write the session's end."""
        self.clock.move(3)
        await self.journal.record(event.SandboxClosed(why="done"))
        told = {
            "turns": self.turns,
            "actions": self.actions,
            "model_ms": 9000,
            "sandbox_ms": 3100,
            "ledger_ms": 120,
        }
        await self.journal.close(
            event.SessionClosed(
                status="done",
                exit_code=0,
                reason="the tests pass",
                unfinished=False,
                totals=Totals(**told | totals),
            )
        )


def begin(state: Path, session: str = SESSION, **settings: object) -> Story:
    """Return a story whose journal is to be entered."""
    clock = Clock()
    journal = Journal.create(
        state,
        session,
        registration=Registration(grant="files+exec", workspace="/home/ada/freetime", owner_uid=0),
        clock=clock,
        **settings,
    )  # type: ignore[arg-type]  # the journal's settings
    return Story(journal, clock, session=session)


async def ordinary(state: Path, session: str = SESSION, *, digest: str = "ab" * 32, end: bool = True) -> None:
    """Write a session in which every kind of thing happens once."""
    story = begin(state, session)
    async with story.journal as journal:
        await story.open("Make the tests pass. Change nothing but src/.", digest=digest)
        await story.message(
            "system", "You work in a sandbox that holds files and exec.\nThere is no network."
        )
        await story.message("user", "Make the tests pass. Change nothing but src/.")
        await story.model(
            "I'll run the tests first to see what fails.",
            ToolCall(call="c1", name="run", arguments='{"argv": ["pytest", "-q"]}'),
        )
        ran = await story.intend("run", "pytest", "-q", call="c1")
        await story.record(
            event.ProcessStarted(
                action=ran, argv=("/usr/bin/python3", "-m", "pytest", "-q"), folder="/workspace"
            )
        )
        await story.finish(
            ran,
            FAILURE,
            ms=900,
            exit_code=1,
            outcome="failed",
        )
        write = ToolCall(
            call="c2",
            name="files_patch",
            arguments='{"path": "src/dates.py", "diff": "' + DIFF.replace("\n", "\\n") + '"}',
        )
        await story.model(
            "`parse` returns nothing. I'll return the text, and look the format up.",
            write,
            ToolCall(call="c3", name="http_get", arguments='{"url": "https://evil.example/"}'),
        )
        patched = await story.intend("files", "patch", "src/dates.py", call="c2")
        use = FileUse(
            path="src/dates.py", access="changed", sha256="cd" * 32, sha256_before="ab" * 32, size=52
        )
        await story.finish(patched, "changed src/dates.py, 52 bytes\n", ms=6, files=(use,))
        await story.intend(
            "http", "get", "https://evil.example/?q=1", verdict="denied", reasons=(DENIED,), call="c3"
        )
        await story.record(
            event.MessageAdded(
                role="tool",
                content=journal.commit(
                    "denied (host): no rule of the policy allows `evil.example`\nhint: do without"
                ),
                call="c3",
            )
        )
        await story.record(
            event.EgressOpened(
                connection=f"{session}/c1",
                host="api.github.com",
                port=443,
                scheme="https",
                verdict="allowed",
                address="140.82.121.6",
            ),
            after_ms=20,
        )
        await story.record(
            event.EgressClosed(
                connection=f"{session}/c1",
                sent_bytes=812,
                received_bytes=64_120,
                requests=1,
                duration_ms=240,
                why="done",
            ),
            after_ms=240,
        )
        await story.record(
            event.EgressOpened(
                connection=f"{session}/c2",
                host="evil.example",
                port=443,
                scheme="https",
                verdict="denied",
                reasons=(DENIED,),
            )
        )
        await story.record(
            event.ModelAsked(
                turn=3,
                backend="anthropic",
                model="claude-sonnet-4-5",
                messages=journal.commit("x", keep=False),
                message_count=9,
            )
        )
        await story.record(
            event.ModelFailed(
                turn=3,
                backend="anthropic",
                model="claude-sonnet-4-5",
                error="529 overloaded",
                attempt=1,
                duration_ms=800,
                will_retry=True,
            ),
            after_ms=800,
        )
        await story.model(
            "The tests should pass now; I'll run them again and remove the stray file.",
            ToolCall(call="c4", name="run", arguments='{"argv": ["pytest", "-q"]}'),
            ms=3100,
        )
        asked = await story.intend(
            "files",
            "remove",
            "notes with space.txt",
            verdict="needs_approval",
            reasons=(
                Reason(
                    code="command",
                    message="`files remove` needs an approval",
                    rule=Rule(origin="pairlock.yaml", line=21, column=9),
                ),
            ),
            call="c5",
        )
        await story.record(event.ApprovalRequested(action=asked, digest="34" * 32, reasons=()))
        await story.record(
            event.ApprovalAnswered(
                action=asked, digest="34" * 32, answer="approved", by="ada", via="terminal", waited_ms=6200
            ),
            after_ms=6200,
        )
        await story.finish(asked, "removed notes with space.txt\n", ms=5)
        again = await story.intend("run", "pytest", "-q", call="c4")
        await story.finish(
            again, "..                                     [100%]\n2 passed in 0.10s\n", ms=850
        )
        await story.record(event.SafetyNoted(code="budget-added", message="turns=20,tokens=50k,wall_time=5m"))
        await story.record(
            event.LimitHit(limit="budget.tokens", bound=400_000, observed=401_222, unit="tokens")
        )
        await story.model(
            "Done: `parse` returns the text it was given, and both tests pass.",
            ToolCall(call="c6", name="finish", arguments='{"status": "done"}'),
        )
        done = await story.intend("finish", "--status", "done", "both tests pass", call="c6")
        await story.finish(done, "both tests pass", ms=0)
        if end:
            await story.close(waiting_ms=6200)
