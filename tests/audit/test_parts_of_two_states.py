"""Parts of an older state among those of a newer one: what each verifier says of them, host's key pinned.

A rollback of everything is found only by a checkpoint kept elsewhere; one of a part mostly shows by itself.
"""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from audit import standalone
from audit.state import StateFiles
from audit.verify import verify_all
from tests.audit import third_party
from tests.audit.samples import SESSION, Recorder, Samples

FIRST, LAST = "yyyyyyyyyyyy", "zzzzzzzzzzzz"
HOST = ("ledger.jsonl", "checkpoint")
FOLDER = f"sessions/{SESSION}"
UNKNOWN = "not authentic: the host's log does not know this session"
UNTOLD = "closed; the host's log does not know of it"
Faults = dict[str, dict[str, str]]


class Moments(NamedTuple):
    """Copies of one state: before the session, while it runs, when all has ended."""

    before: Path
    during: Path
    after: Path


@pytest.fixture(scope="module")
def moments(tmp_path_factory: pytest.TempPathFactory) -> Moments:
    """Return three moments of a state in which three sessions follow each other."""
    found = Moments(*(tmp_path_factory.mktemp("moments") / name for name in Moments._fields))
    asyncio.run(record(found))
    return found


async def record(moments: Moments) -> None:
    recorder, samples = Recorder(moments.after), Samples()
    await recorder.whole(FIRST, actions=3)
    shutil.copytree(moments.after, moments.before)
    async with recorder.journal() as journal:
        for number in range(80):
            await journal.record(samples.finished(number, journal.commit(f"{number}" + "o" * 5_000)))
        shutil.copytree(moments.after, moments.during)
        await journal.record(samples.finished(80, journal.commit("x" * 20_000)))
        await journal.close(samples.closed())
    await recorder.whole(LAST, actions=3)


def faults(state: Path, anchor: Path | None = None) -> Faults:
    """Return what `verify` finds, the others having agreed on which logs it is; they look at no bodies."""
    files, note = StateFiles(state), None if anchor is None else (anchor / "checkpoint").read_text()
    key = files.host_vkey.read_text()
    found = {one.log: one.faults() for one in verify_all(state, pinned_vkey=key, against=note)}
    chained = {log: [name for name in bad if name != "disclosure"] for log, bad in found.items()}
    command = [sys.executable, "-I", standalone.__file__, str(state), "--key", key]
    command += [] if anchor is None else ["--against", str(anchor / "checkpoint")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.stderr, bool(told.returncode)) == ("", any(chained.values()))
    assert bool(third_party.faults(state, key, note)) is any(chained.values())
    return {log: bad for log, bad in found.items() if bad}


def mixed(moments: Moments, older: Path, target: Path, *names: str) -> Path:
    """Return a copy of the newest state with some of an older one's files in place of its own."""
    shutil.copytree(moments.after, target)
    for name in names:
        path = target / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if (older / name).is_dir():
            shutil.copytree(older / name, path)
        elif (older / name).exists():
            shutil.copy(older / name, path)
    return target


def host_size(state: Path) -> int:
    return len((state / "ledger.jsonl").read_bytes().splitlines())


def test_what_is_of_one_moment_verifies(moments: Moments) -> None:
    for state in moments:
        assert faults(state) == {}
    assert faults(moments.after, moments.before) == faults(moments.after, moments.after) == {}


def test_a_host_log_older_than_its_sessions_does_not_know_them(moments: Moments, tmp_path: Path) -> None:
    state = mixed(moments, moments.before, tmp_path / "mixed", *HOST)

    unknown = {"authenticity": UNKNOWN}
    assert faults(state) == {SESSION: unknown, LAST: unknown}


def test_a_host_log_of_while_a_session_ran_does_not_know_its_end(moments: Moments, tmp_path: Path) -> None:
    """No fault, for so it looks where a runner could not tell it; whoever reads the verdict is told."""
    state = mixed(moments, moments.during, tmp_path / "mixed", *HOST)
    shutil.rmtree(state / "sessions" / LAST)
    key = StateFiles(state).host_vkey.read_text()

    assert faults(state) == {}
    found = {one.log: str(one.completeness) for one in verify_all(state, pinned_vkey=key)}
    assert (found[FIRST], found[SESSION]) == ("closed", UNTOLD)
    command = [sys.executable, "-I", standalone.__file__, str(state), "--key", key]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert [line.startswith(SESSION) for line in told.splitlines() if line.endswith(UNTOLD)] == [True]
    rolled = f"rolled back or rewritten: the checkpoint covers {host_size(moments.after)} entries"
    assert all(
        bad["freshness"] == f"{rolled}, the host's log holds {host_size(state)}"
        for bad in faults(state, moments.after).values()
    )
    assert faults(state, moments.after).keys() == {"host", FIRST, SESSION}


def test_a_session_older_than_the_host_log_is_cut_off(moments: Moments, tmp_path: Path) -> None:
    there = len((moments.during / FOLDER / "events.jsonl").read_bytes().splitlines())
    known = len((moments.after / FOLDER / "events.jsonl").read_bytes().splitlines())

    cut = faults(mixed(moments, moments.during, tmp_path / "cut", FOLDER))
    gone = faults(mixed(moments, moments.before, tmp_path / "gone", FOLDER))

    bodies = {"completeness": f"truncated: {there} entries of at least {known}"}
    assert cut == {SESSION: bodies}
    assert gone == {
        SESSION: {"completeness": f"missing: the session's log of at least {known} entries is gone"}
    }


@pytest.mark.parametrize("name", ["openings.jsonl", "blobs"])
def test_bodies_of_an_older_state_are_missing(moments: Moments, tmp_path: Path, name: str) -> None:
    state = mixed(moments, moments.during, tmp_path / "older", f"{FOLDER}/{name}")

    assert faults(state) == {
        SESSION: {"disclosure": "1 bodies missing, 0 changed, not accounted for"},
    }


@pytest.mark.parametrize("name", HOST)
def test_a_host_log_and_a_checkpoint_of_two_moments_do_not_fit(
    moments: Moments, tmp_path: Path, name: str
) -> None:
    state = mixed(moments, moments.before, tmp_path / "mixed", name)

    old, new = host_size(moments.before), host_size(moments.after)
    why = (
        f"its checkpoint covers {new} entries, the file holds {old}"
        if name == "ledger.jsonl"
        else f"no checkpoint covers entry {old}"
    )
    assert faults(state)["host"]["authenticity"] == f"not authentic: the host's log does not hold: {why}"
    (state / "checkpoint.next").write_bytes((moments.before / "checkpoint").read_bytes())
    assert faults(state)["host"]["authenticity"] == f"not authentic: the host's log does not hold: {why}"


def test_an_older_checkpoint_in_advance_changes_nothing(moments: Moments, tmp_path: Path) -> None:
    state = mixed(moments, moments.before, tmp_path / "mixed")

    (state / "checkpoint.next").write_bytes((moments.during / "checkpoint").read_bytes())

    assert faults(state) == {}
