"""What the ledger's tests share: a clock that a test can turn, ready events, whole sessions."""

from dataclasses import dataclass
from pathlib import Path

from audit.event import ActionFinished, ActionIntended, SessionClosed, SessionOpened
from audit.fields import Commitment, Totals
from audit.journal import Journal, Registration

SESSION = "0123456789ab"
SECRET = "ghp_s3cret/with+odd=chars"  # noqa: S105 - a made-up one, to be looked for


@dataclass
class TurnableClock:
    """A clock that goes as it is told."""

    wall: int = 1_700_000_000_000_000
    mono: int = 5_000_000

    def wall_us(self) -> int:
        """Return the time, one microsecond later each time."""
        self.wall += 1
        return self.wall

    def monotonic_us(self) -> int:
        """Return the monotonic time, one microsecond later each time."""
        self.mono += 1
        return self.mono


class Samples:
    """Ready events of one session."""

    session = SESSION

    def opened(self, task: Commitment) -> SessionOpened:
        """Return the session's start."""
        return SessionOpened(
            session=self.session,
            task=task,
            task_is_origin=True,
            grant="files",
            policy_origin="pairlock.yaml",
            policy_digest="ab" * 32,
            workspace="/home/someone/project",
            model="a-model",
            backend="scripted",
            pairlock_version="0.1.0",
            headless=False,
        )

    def intended(self, number: int, text: str = "src/app.py") -> ActionIntended:
        """Return an action."""
        return ActionIntended(
            action=f"{self.session}/{number}",
            argv=("files", "read", text),
            command="files read",
            arguments={"path": text},
            verdict="allowed",
        )

    def finished(self, number: int, body: Commitment | None = None) -> ActionFinished:
        """Return its outcome."""
        return ActionFinished(
            action=f"{self.session}/{number}",
            outcome="ok",
            exit_code=0,
            duration_ms=3,
            output_bytes=5,
            body=body,
        )

    def closed(self) -> SessionClosed:
        """Return the session's end."""
        return SessionClosed(
            status="done", exit_code=0, reason="finished", unfinished=False, totals=Totals(actions=1)
        )


class Recorder:
    """Writes whole sessions for tests that tamper with them afterwards."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def journal(self, session_id: str = SESSION, **settings: object) -> Journal:
        """Return the journal of a new session."""
        return Journal.create(self.state, session_id, registration=Registration(grant="files"), **settings)

    async def whole(self, session_id: str = SESSION, *, actions: int = 100, close: bool = True) -> Path:
        """Write a session with that many actions and return the file of its log."""
        samples = Samples()
        samples.session = session_id
        async with self.journal(session_id) as journal:
            await journal.record(samples.opened(journal.commit("mend the tests")))
            for number in range(actions):
                await journal.record(samples.intended(number))
                body = journal.commit(f"output of {number}") if number % 10 == 0 else None
                await journal.record(samples.finished(number, body))
            if close:
                await journal.close(samples.closed())
        return self.state / "sessions" / session_id / "events.jsonl"
