"""The single file says of an end what `verify` says, and both take and refuse the same torn lines."""

from collections.abc import Callable
from pathlib import Path

import pytest

from audit import standalone
from audit.chain import Chain, leaf_hash
from audit.keys import host_key
from audit.note import sign
from audit.state import StateFiles
from audit.verify import verify_all
from tests.audit import attacker
from tests.audit.samples import SESSION, Recorder
from tests.audit.unpacked import key_of, verify_state

UNTOLD = "closed; the host's log does not know of it"
Change = Callable[[Path], None]


def words(state: Path) -> tuple[str, str]:
    """Return what our verifier says of the session's end, and what the single file says."""
    ours = {found.log: str(found.completeness) for found in verify_all(state, pinned_vkey=str(key_of(state)))}
    out = verify_state(state, "--key", str(key_of(state)))[1]
    line = next(line for line in out.splitlines() if line.startswith(f"{SESSION}: "))
    return ours[SESSION], line.rpartition("sealed, ")[2]


def finds(state: Path) -> list[bool]:
    """Return whether our verifier finds a fault, and whether the single file does."""
    key = str(key_of(state))
    ours = any(found.faults() for found in verify_all(state, pinned_vkey=key))
    return [ours, verify_state(state, "--key", key)[0] == 1]


def untell(state: Path) -> None:
    """Take the session's end out of the host's log, as if the runner could not have told it."""
    files = StateFiles(state)
    lines = attacker.read_lines(files.log)[:-1]
    attacker.write_lines(files.log, lines)
    chain = Chain.start(f"pairlock/host/{host_key(files).name}")
    for line in lines:
        chain.advance(leaf_hash(line))
    files.checkpoint.write_text(
        sign(chain.checkpoint(f"pairlock/host/{host_key(files).name}").text(), [host_key(files)])
    )


def tear(state: Path, size: int = 1) -> None:
    """Leave a line without its end."""
    with (state / "sessions" / SESSION / "events.jsonl").open("ab") as file:
        file.write(b"x" * size)


def spoil_the_checkpoint(state: Path) -> None:
    (state / "checkpoint").write_bytes(b"garbage")


def spoil_the_hosts_log(state: Path) -> None:
    raw = (state / "ledger.jsonl").read_bytes()
    (state / "ledger.jsonl").write_bytes(raw.replace(b'"seq":2', b'"seq":7'))


def untell_and_tear(state: Path) -> None:
    untell(state)
    tear(state)


@pytest.mark.parametrize(
    ("change", "ours", "theirs"),
    [
        (lambda _state: None, "closed", "closed"),
        (untell, UNTOLD, UNTOLD),
        (untell_and_tear, "crashed: no end is recorded, 1 bytes of a torn line", "no end recorded"),
        (spoil_the_checkpoint, "closed", "closed"),
        (spoil_the_hosts_log, "closed", "closed"),
    ],
)
async def test_the_words_for_an_end(
    recorder: Recorder, state: Path, change: Change, ours: str, theirs: str
) -> None:
    """A host's log that does not hold is not one that does not know of an end."""
    await recorder.whole(actions=3)

    change(state)

    assert words(state) == (ours, theirs)


@pytest.mark.parametrize(("size", "bad"), [(1, False), (40_000, False), (65_536, False), (65_537, True)])
async def test_a_torn_line_may_have_64_kib(recorder: Recorder, state: Path, size: int, *, bad: bool) -> None:
    await recorder.whole(actions=3, close=False)
    tear(state, size)

    assert finds(state) == [bad, bad]


def test_a_whole_line_of_more_than_32_kib_is_none(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(b"x" * (standalone.LONGEST_LINE + 1) + b"\n")

    (line,) = standalone.lines_of([tmp_path / "events.jsonl"])

    with pytest.raises(standalone.BadLogError, match="longer than a line can be"):
        standalone.Log("x").take(line)
