"""Somebody who writes on at the end of a session with a key of their own, and what is said of it."""

from pathlib import Path

from audit.chain import Chain
from audit.encode import Encoder
from audit.event import LogSealed, SessionRecovered
from audit.fields import Event
from audit.note import SignerKey, sign
from audit.recover import session_origin
from audit.state import StateFiles
from audit.verdict import (
    Broken,
)
from audit.verify import verify_session
from tests.audit import attacker, third_party
from tests.audit.samples import SESSION, TurnableClock

OTHER = "zzzzzzzzzzzz"
ORIGIN = session_origin(SESSION)


class Forger:
    """Writes on at the end of a session's file, with a key of its own."""

    def __init__(self, state: Path) -> None:
        self.path = state / "sessions" / SESSION / "events.jsonl"
        self.key = SignerKey.make(f"pairlock/session/{SESSION}/2", b"f" * 32)
        self.chain = Chain.start(ORIGIN)
        self.lines = attacker.read_lines(self.path)
        for line in self.lines:
            self.chain.take(line)

    def add(self, event: Event) -> None:
        """Append an entry that fits."""
        rest, _ = Encoder(TurnableClock()).encode(event)
        self.lines.append(self.chain.add(rest))

    def recovered(self, epoch: int = 2) -> SessionRecovered:
        """Return the beginning of an epoch with the forger's key."""
        return SessionRecovered(
            session=SESSION,
            epoch=epoch,
            vkey=str(self.key.verifier),
            writer="",
            unsealed_from=0,
            dropped_bytes=0,
            dropped_sha256="0" * 64,
        )

    def seal(self, *, epoch: int = 2) -> LogSealed:
        """Return a seal of everything so far by the forger's key."""
        return LogSealed(epoch=epoch, note=sign(self.chain.checkpoint(ORIGIN).text(), [self.key]))

    def write(self) -> None:
        """Put the lines in place of the session's."""
        attacker.write_lines(self.path, self.lines)


def host_key_of(state: Path) -> str:
    return StateFiles(state).host_vkey.read_text()


def why_broken(state: Path) -> tuple[int, int, str]:
    found = verify_session(state, SESSION).integrity
    assert isinstance(found, Broken)
    assert third_party.faults(state, host_key_of(state)) != []
    return found.first, found.last, found.why


def host_lines(state: Path) -> attacker.Lines:
    return attacker.read_lines(state / "ledger.jsonl")
