"""Write the golden files of the present format: once for each version, and never again for an old one.

Run with ``python -m tests.audit.make_golden FOLDER``.
"""

import asyncio
import json
import sys
from pathlib import Path

from audit import event as events
from audit.fields import Commitment, Evidence, FileUse, Reason, Rule, ToolCall, Totals
from audit.host import HostLog
from audit.host_event import LabelChanged, PolicyTrusted, ReviewRecorded
from audit.journal import Journal, Registration
from audit.reader import SessionReader
from tests.audit.samples import SESSION, Samples, TurnableClock

REASON = Reason(
    code="host", message="not in the list", hint="add it", rule=Rule(origin="p.yaml", line=3, column=7)
)
HOSTILE = "caf\u00e9 \ud800 \x1b[31m \u202e \U0001f600 \u2028"


def every_event(journal: Journal) -> list[events.Event]:
    """Return at least one event of every type that the journal does not write itself."""
    samples, action, connection = Samples(), f"{SESSION}/1", f"{SESSION}/c1"
    body: Commitment = journal.commit("the output\n")
    return [
        samples.opened(journal.commit("mend the tests")),
        events.SandboxCreated(
            runtime="runc",
            engine_version="20.10.24",
            image_digest="sha256:" + "0" * 64,
            container="c0ffee",
            spec_digest="1" * 64,
            stage_strategy="overlay",
            stage_reason="local engine",
            volume="pairlock-stage",
        ),
        events.SandboxAttested(
            verdict="as granted",
            evidence=(Evidence(check="seccomp", expected="2", observed="2", source="guest"),),
        ),
        events.SafetyNoted(code="data-public", message="a rule reads public data with a credential"),
        events.ActionIntended(
            action=action,
            argv=("files", "read", HOSTILE),
            command="files read",
            arguments={
                "path": HOSTILE,
                "half": 0.5,
                "huge": 2**80,
                "raw": b"\xff\x00",
                "!": 1,
                "deep": ((1,),),
            },
            verdict="denied",
            reasons=(REASON,),
            turn=1,
            call="call_1",
        ),
        events.ApprovalRequested(action=action, digest="2" * 64, reasons=(REASON,)),
        events.ApprovalAnswered(
            action=action, digest="2" * 64, answer="approved", by="someone", via="terminal", waited_ms=12
        ),
        events.ProcessStarted(action=action, argv=("pytest", "-q"), folder="."),
        events.ActionOutput(action=action, stream="stdout", content=journal.commit("some\n")),
        events.ActionFinished(
            action=action,
            outcome="ok",
            exit_code=0,
            duration_ms=7,
            output_bytes=11,
            files=(FileUse(path="a.py", access="changed", sha256="3" * 64, sha256_before="4" * 64, size=9),),
            body=body,
        ),
        events.MessageAdded(role="user", content=journal.commit("go on" * 3000)),
        events.ModelAsked(
            turn=1, backend="b", model="m", messages=journal.commit("[]", keep=False), message_count=2
        ),
        events.ModelAnswered(
            turn=1,
            backend="b",
            model="m",
            text=journal.commit("done"),
            tool_calls=(ToolCall(call="call_1", name="files_read", arguments='{"path":"a"}'),),
            input_tokens=100,
            output_tokens=10,
            cached_tokens=90,
            duration_ms=300,
        ),
        events.ModelFailed(
            turn=2, backend="b", model="m", error="timed out", attempt=1, duration_ms=5, will_retry=True
        ),
        events.LimitHit(limit="budget.turns", bound=60, observed=60, unit="turns"),
        events.EgressOpened(
            connection=connection, host="example.org", port=443, scheme="https", verdict="allowed"
        ),
        events.EgressRequested(connection=connection, method="GET", path="/", verdict="allowed", status=200),
        events.EgressClosed(
            connection=connection, sent_bytes=1, received_bytes=2, requests=1, duration_ms=3, why="done"
        ),
        events.StageApplied(
            session=SESSION, workspace="/w", applied=("a.py",), refused=(), by="someone", whole=True
        ),
        events.StageDiscarded(session=SESSION, workspace="/w", by="someone", why="not wanted"),
        LabelChanged(
            workspace="/w", identity="1:2", before=("files",), after=(), sessions=(SESSION,), why="applied"
        ),
        events.SandboxClosed(why="the session is over"),
        samples.intended(2, text="x" * 40_000),
    ]


async def write(state: Path) -> None:
    """Write a session that died, was taken up again, and was closed; and the host's entries."""
    clock = TurnableClock()
    settings = {"clock": clock, "writer": "0.1.0", "secrets_by_name": {"token": "not-a-real-secret"}}
    async with Journal.create(
        state, SESSION, registration=Registration(grant="files"), **settings
    ) as journal:
        for event in every_event(journal):
            await journal.record(event)
    async with Journal.reopen(state, SESSION, **settings) as journal:
        await journal.record(Samples().intended(3, text="x not-a-real-secret y"))
        await journal.close(
            events.SessionClosed(
                status="done", exit_code=0, reason="done", unfinished=False, totals=Totals(turns=2, actions=3)
            )
        )
    with HostLog(state, clock=clock, writer="0.1.0") as host:
        host.append(PolicyTrusted(origin="p.yaml", digest="5" * 64, by="someone"))
        host.rotate()
        host.append(ReviewRecorded(workspace="/w", identity="1:2", sessions=(SESSION,), by="someone"))


def expected(state: Path) -> dict[str, object]:
    """Return what reading the session has to give, for ever."""
    found = [event for _, event in SessionReader(state, SESSION).events()]
    intended = next(event for event in found if isinstance(event, events.ActionIntended))
    return {
        "session": SESSION,
        "kinds": [event.kind for event in found],
        "task": "mend the tests",
        "argv": repr(intended.argv),
        "arguments": repr(intended.arguments),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    asyncio.run(write(folder))
    (folder / "expected.json").write_text(json.dumps(expected(folder), indent=1) + "\n")
    for private in (
        "host.key",
        "redaction.key",
        "ledger.lock",
        f"sessions/{SESSION}/writer.lock",
        "checkpoint.next",
    ):
        (folder / private).unlink(missing_ok=True)
