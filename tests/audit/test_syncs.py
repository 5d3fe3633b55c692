"""What is acknowledged has been synced, and what failed once is never tried again."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.appendfile import AppendFile
from audit.clock import SystemClock
from audit.errors import LedgerDeadError, LedgerError, LedgerLostError
from audit.state import write_private
from tests.audit.samples import Recorder, Samples


class Synced:
    """Remembers what was synced, and how long it was then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: dict[str, int] = {}
        monkeypatch.setattr(os, "fsync", self._noted(os.fsync))
        monkeypatch.setattr(os, "fdatasync", self._noted(os.fdatasync))

    def _noted(self, sync: Callable[[int], None]) -> Callable[[int], None]:
        def noted(descriptor: int) -> None:
            sync(descriptor)
            self.sizes[os.readlink(f"/proc/self/fd/{descriptor}")] = os.fstat(descriptor).st_size  # noqa: PTH115 - no Path in a hot call

        return noted


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Synced:
    return Synced(monkeypatch)


async def test_every_receipt_comes_behind_a_sync_of_its_whole_line(
    recorder: Recorder, state: Path, samples: Samples, synced: Synced
) -> None:
    """Also of what opens the commitments in it."""
    async with recorder.journal() as journal:
        files = recorder.state / "sessions" / journal.session_id
        for number in range(5):
            await journal.record(samples.finished(number, journal.commit(f"output of {number}")))

            for name in ("events.jsonl", "openings.jsonl"):
                assert synced.sizes[str(files / name)] == (files / name).stat().st_size
    assert synced.sizes[str(state / "ledger.jsonl")] == (state / "ledger.jsonl").stat().st_size


def test_the_name_of_a_new_log_is_synced_before_anything_is_added(tmp_path: Path, synced: Synced) -> None:
    AppendFile(tmp_path / "events.jsonl").close()

    assert str(tmp_path) in synced.sizes


def test_a_whole_file_is_synced_before_it_takes_the_place_of_the_old(tmp_path: Path, synced: Synced) -> None:
    """A name that leads to an empty file after a power cut is a checkpoint lost."""
    write_private(tmp_path / "checkpoint", b"a note")

    assert sorted(synced.sizes.values())[:1] == [6]
    assert str(tmp_path) in synced.sizes


def test_a_file_whose_sync_failed_once_takes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may have dropped what it could not write, and say of the next sync that all is well."""

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    file = AppendFile(tmp_path / "events.jsonl")
    file.append(b"one\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(LedgerError, match="input/output error"):
            file.append(b"two\n")

    with pytest.raises(LedgerDeadError, match="is no longer written"):
        file.append(b"three\n")

    file.close()
    assert (tmp_path / "events.jsonl").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("foreseen", [b"one\ntwo\n", b"one\n"])
def test_a_file_in_the_place_of_a_log_is_told_whatever_its_length(tmp_path: Path, foreseen: bytes) -> None:
    """One that is as long as the log is about to be too: what was written went to a file without a name."""
    path = tmp_path / "events.jsonl"
    file = AppendFile(path)
    file.append(b"one\n")
    path.unlink()
    path.write_bytes(foreseen)

    with pytest.raises(LedgerLostError, match="was replaced under its writer"):
        file.append(b"two\n")

    with pytest.raises(LedgerDeadError):
        file.append(b"three\n")
    file.close()


def test_the_clock_beside_the_wall_clock_does_not_go_back_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time as a person or a server sets it is a claim; the twin tells how long things took."""
    clock = SystemClock()
    before = clock.wall_us(), clock.monotonic_us()
    monkeypatch.setattr(time, "time_ns", lambda: 0)

    after = clock.wall_us(), clock.monotonic_us()

    assert after[0] == 0 < before[0]
    assert after[1] >= before[1] > 0
