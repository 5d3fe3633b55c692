"""Write the ledgers that are measured: sessions of one kind of entry, and sessions as they are."""

from pathlib import Path

from audit.event import ActionFinished, ActionIntended, ModelAnswered, ModelAsked
from audit.fields import Event, Reason, Rule, ToolCall
from audit.journal import Journal, Registration

_SESSIONS = iter(f"{number:012d}" for number in range(100))


def next_session() -> str:
    """Return an id that none of them has had."""
    return next(_SESSIONS)


def event(number: int) -> ActionIntended:
    """Return an event whose line has about 800 bytes."""
    return ActionIntended(
        action=f"0123456789ab/{number}",
        argv=("files", "write", "src/app/module/deep/down/file.py", "--text", "x" * 150),
        command="files write",
        arguments={"path": "src/app/module/deep/down/file.py", "text": "x" * 150},
        verdict="allowed",
        reasons=(Reason(code="rule", message="a rule allows it", rule=Rule(origin="p", line=9, column=7)),),
    )


def turn(journal: Journal, number: int) -> list[Event]:
    """Return what one turn of a session leaves: the model asked and answering, an action, its outcome."""
    action, path = f"0123456789ab/{number}", f"src/app/module{number % 97}/file.py"
    call = ToolCall(call=f"call_{number}", name="files", arguments='{"command":"read","path":"src/app.py"}')
    return [
        ModelAsked(
            turn=number,
            backend="anthropic",
            model="a-model-of-today",
            messages=journal.commit(b"%d" % number, keep=False),
            message_count=2 * number,
        ),
        ModelAnswered(
            turn=number,
            backend="anthropic",
            model="a-model-of-today",
            text=journal.commit(b"I read the file."),
            tool_calls=(call,),
            input_tokens=9000 + number,
            output_tokens=120,
            cached_tokens=8000,
            duration_ms=900,
        ),
        ActionIntended(
            action=action,
            argv=("files", "read", path),
            command="files read",
            arguments={"path": path, "limit": 2000},
            verdict="allowed",
            turn=number,
            call=call.call,
        ),
        ActionFinished(
            action=action,
            outcome="ok",
            exit_code=0,
            duration_ms=12,
            output_bytes=2000,
            body=journal.commit(b"x" * 200),
        ),
    ]


async def fill_mixed(state: Path, entries: int) -> str:
    """Write a session of about that many entries as sessions have them, and return its id."""
    session = next_session()
    async with Journal.create(state, session, registration=Registration(grant="none")) as journal:
        for number in range(entries // 4):
            for one in turn(journal, number):
                await journal.record_lazily(one)
    return session


def parts_of(state: Path, session: str) -> tuple[list[Path], int, int]:
    """Return a session's files, its entries, and the bytes of an entry."""
    parts = sorted((state / "sessions" / session).glob("events.jsonl*"))
    total = sum(part.read_bytes().count(b"\n") for part in parts)
    return parts, total, sum(part.stat().st_size for part in parts) // total


async def fill(state: Path, entries: int) -> str:
    """Write a session of that many entries and return its id."""
    session = next_session()
    one = event(1)
    async with Journal.create(state, session, registration=Registration(grant="none")) as journal:
        for start in range(0, entries, 2000):
            for _ in range(min(2000, entries - start) - 1):
                await journal.record_lazily(one)
            await journal.record(one)
    return session
