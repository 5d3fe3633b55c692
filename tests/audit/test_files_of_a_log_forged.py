"""What is done to whole files of a log of several is found by who pinned the host's key, and told apart."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.state import StateFiles
from audit.verify import verify_all
from tests.audit import attacker
from tests.audit.samples import SESSION, Recorder
from tests.audit.test_search_in_processes import files_of, write_in_many_files

OTHER = "ba9876543210"
NOWHERE = "zzzzzzzzzzzz"
Forgery = Callable[[Path], object]
Faults = dict[str, set[str]]

BROKEN: Faults = {SESSION: {"integrity"}}
CUT: Faults = {SESSION: {"completeness"}}
BOTH: Faults = {SESSION: {"integrity", "completeness"}}
NOBODYS: Faults = {
    "host": {"integrity", "authenticity"},
    SESSION: {"authenticity"},
    OTHER: {"authenticity"},
}


def folder(state: Path, session: str = SESSION) -> Path:
    return state / "sessions" / session


def in_second(change: Callable[[bytes], bytes]) -> Forgery:
    return lambda state: files_of(state)[1].write_bytes(change(files_of(state)[1].read_bytes()))


def drop_seals(raw: bytes) -> bytes:
    return b"".join(line for line in raw.splitlines(keepends=True) if b"log.sealed" not in line)


def keep_the_first_file(state: Path) -> None:
    for path in files_of(state)[1:]:
        path.unlink()


def link_to_another(state: Path) -> None:
    files_of(state)[0].unlink()
    os.link(folder(state, OTHER) / "events.jsonl", folder(state) / "events.jsonl")


def exchange(state: Path) -> None:
    folder(state).rename(state / "aside")
    folder(state, OTHER).rename(folder(state))
    (state / "aside").rename(folder(state, OTHER))


def add_the_last_again(state: Path) -> None:
    paths = files_of(state)
    shutil.copy(paths[-1], folder(state) / f"events.jsonl.{len(paths)}")


def exchange_files(state: Path) -> None:
    first, second = files_of(state)[1:3]
    first.rename(state / "aside")
    second.rename(first)
    (state / "aside").rename(second)


def exchange_files_of_two(state: Path) -> None:
    theirs, ours = folder(state, OTHER) / "events.jsonl", folder(state) / "events.jsonl"
    theirs.rename(state / "aside")
    ours.rename(theirs)
    (state / "aside").rename(ours)


def a_hole(path: Path, length: int) -> None:
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + length)


def cut_the_hosts_log(state: Path) -> None:
    attacker.write_lines(state / "ledger.jsonl", attacker.read_lines(state / "ledger.jsonl")[:-1])


def forget_in_the_hosts_log(state: Path) -> None:
    lines = attacker.read_lines(state / "ledger.jsonl")
    attacker.write_lines(state / "ledger.jsonl", [line for line in lines if SESSION.encode() not in line])


def cut_with_its_checkpoint(state: Path) -> None:
    cut_the_hosts_log(state)
    (state / "checkpoint").unlink()


FORGERIES: dict[str, tuple[Forgery, Faults]] = {
    "the last file deleted": (lambda state: files_of(state)[-1].unlink(), CUT),
    "the last file emptied": (lambda state: files_of(state)[-1].write_bytes(b""), CUT),
    "all files but the first deleted": (keep_the_first_file, CUT),
    "the first file deleted": (lambda state: files_of(state)[0].unlink(), BOTH),
    "the last file added again": (add_the_last_again, BROKEN),
    "a file of another session's": (
        lambda state: shutil.copy(folder(state, OTHER) / "events.jsonl", files_of(state)[1]),
        BROKEN,
    ),
    "a hard link to another session's": (link_to_another, BROKEN),
    "two sessions exchanged": (exchange, BOTH | {OTHER: {"integrity"}}),
    "a session renamed": (
        lambda state: folder(state).rename(folder(state, NOWHERE)),
        CUT | {NOWHERE: {"integrity"}},
    ),
    "two files exchanged": (exchange_files, BROKEN),
    "the first files of two exchanged": (
        exchange_files_of_two,
        BROKEN | {OTHER: {"integrity", "completeness"}},
    ),
    "a hole of a terabyte behind the last file": (lambda state: a_hole(files_of(state)[-1], 1 << 40), BROKEN),
    "a hole of a few bytes behind the last file": (lambda state: a_hole(files_of(state)[-1], 9), BROKEN),
    "an empty line": (in_second(lambda raw: raw.replace(b"\n", b"\n\n", 1)), BROKEN),
    "other ends of lines": (in_second(lambda raw: raw.replace(b"\n", b"\r\n")), BROKEN),
    "seals left out": (in_second(drop_seals), BOTH),
    "the host's log cut": (cut_the_hosts_log, NOBODYS),
    "the host's log cut, and no checkpoint": (cut_with_its_checkpoint, NOBODYS),
    "the session forgotten in the host's log": (forget_in_the_hosts_log, NOBODYS),
    "the host's log deleted": (lambda state: (state / "ledger.jsonl").unlink(), NOBODYS),
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state of two sessions, one of them in several files."""
    state = tmp_path_factory.mktemp("honest") / "state"
    asyncio.run(write_in_many_files(state))
    asyncio.run(Recorder(state).whole(OTHER, actions=90))
    return state


def faults(state: Path, key: str) -> Faults:
    return {one.log: {*one.faults()} for one in verify_all(state, pinned_vkey=key) if one.faults()}


def test_the_honest_state_verifies(honest: Path) -> None:
    assert len(files_of(honest)) > len(FORGERIES["two sessions exchanged"][1])
    assert faults(honest, StateFiles(honest).host_vkey.read_text()) == {}


def test_files_that_keep_their_order_keep_their_log(honest: Path, tmp_path: Path) -> None:
    """The twin: where the numbers of files have gaps, or the last is empty, every entry is still there."""
    state = shutil.copytree(honest, tmp_path / "state")

    for path in reversed(files_of(state)[1:]):
        path.rename(path.with_suffix(f".{int(path.suffix[1:]) * 7}"))
    (folder(state) / "events.jsonl.1000").touch()

    assert faults(state, StateFiles(state).host_vkey.read_text()) == {}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_of_whole_files_is_found(honest: Path, tmp_path: Path, name: str) -> None:
    forge, found = FORGERIES[name]
    state = shutil.copytree(honest, tmp_path / "state")
    key = StateFiles(state).host_vkey.read_text()

    forge(state)

    assert faults(state, key) == found
