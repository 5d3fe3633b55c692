"""`pairlock audit report`: the file it writes, what it says, and its exit codes."""

from __future__ import annotations

import asyncio
import shutil
import stat
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from agent_runner.cli.exits import Exit, exit_code, explain
from agent_runner.cli.main import app
from audit.escape import is_hidden
from audit.keys import host_vkey, store_host_key
from audit.note import SignerKey
from audit.state import StateFiles
from tests.agent_runner.report.reading import Page
from tests.agent_runner.report.story import SESSION, ordinary

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state folder with one session, to be copied."""
    folder = tmp_path_factory.mktemp("command") / "state"
    asyncio.run(ordinary(folder))
    return folder


@pytest.fixture
def state(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a state folder of the test's own, which pairlock uses."""
    copy = tmp_path / "state"
    shutil.copytree(written, copy)
    monkeypatch.setenv("PAIRLOCK_STATE", str(copy))
    return copy


def report(*arguments: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it said, or what its error says."""
    done = CliRunner().invoke(app, ["audit", "report", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        return int(exit_code(done.exception) or -1), explain(done.exception)
    return done.exit_code, done.stderr


def test_a_page_is_written_for_its_owner_only_and_takes_the_old_ones_place(
    state: Path, tmp_path: Path
) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")
    target.chmod(0o644)

    code, said = report(SESSION[:4], "-o", str(target))

    assert code == 0
    assert said.splitlines()[0].startswith(f"wrote {target}, ")
    assert SESSION in Page(target.read_text("utf-8")).text
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "state"]


def test_the_newest_session_is_meant_when_none_is_named(state: Path, tmp_path: Path) -> None:
    assert report("-o", str(tmp_path / "report.html"))[0] == 0


def test_a_ledger_that_does_not_verify_gives_its_page_and_exit_6(state: Path, tmp_path: Path) -> None:
    """A CI job keeps the page as an artifact, and fails."""
    log = state / "sessions" / SESSION / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"exit_code":1', b'"exit_code":0', 1))
    target = tmp_path / "report.html"

    code, said = report("-o", str(target))

    assert code == Exit.LEDGER
    _, verdict, fault = said.splitlines()
    assert verdict == "the ledger does not verify"
    assert fault.startswith("pairlock: integrity: broken at entry")
    assert "The ledger does not verify" in Page(target.read_text("utf-8")).text


def test_a_pinned_key_and_a_checkpoint_are_held_against_it(state: Path, tmp_path: Path) -> None:
    target, note = tmp_path / "report.html", tmp_path / "checkpoint"
    shutil.copy(state / "checkpoint", note)
    key = str(host_vkey(StateFiles(state)))

    code, said = report("-o", str(target), "--key", key, "--against", str(note))

    assert code == 0
    assert "the ledger verifies: signed by the pinned key" in said
    assert "fits the checkpoint kept elsewhere" in Page(target.read_text("utf-8")).text


def test_the_words_of_a_forged_ledger_do_nothing_to_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever forges a ledger chooses the name of its key, and where a chain of entries breaks."""
    state, target = tmp_path / "state", tmp_path / "a\x1b[2J.html"
    files = StateFiles(state)
    state.mkdir(mode=0o700)
    store_host_key(files, SignerKey.make("evil\x1b[2J\u202e\x07", bytes(32)))
    asyncio.run(ordinary(state))
    monkeypatch.setenv("PAIRLOCK_STATE", str(state))

    code, said = report(SESSION, "-o", str(target))
    bad, found = report(
        SESSION, "-o", str(target), "--key", str(SignerKey.make("x\x1bc", bytes(32)).verifier)
    )

    assert (code, bad) == (0, Exit.LEDGER)
    assert "self-claimed by `evil\\x1b[2J\\u202e\\x07`" in said
    assert "pairlock: authenticity: " in found
    assert {char for char in said + found if is_hidden(char) and char != "\n"} == set()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "no file is named"),
        (["-o", "{place}"], "is there and is no regular file"),
        (["-o", "{place}/link.html"], "is there and is no regular file"),
        (["-o", "{place}/missing/report.html"], "its folder does not exist"),
        (["-o", "{place}/a\x1b[2J/report.html"], "/a\\x1b[2J/report.html`: its folder does not exist"),
        (["zzzz", "-o", "{place}/r.html"], "no session `zzzz`"),
        (["-o", "{place}/r.html", "--port", "8080"], "`--port` goes with `--serve`"),
        (["-o", "{place}/r.html", "--serve"], "`--serve` writes no file"),
        (["-o", "{place}/r.html", "--key", "rubbish"], "key"),
        (["-o", "{place}/r.html", "--against", "{place}"], "is not a checkpoint"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2_and_writes_nothing(
    state: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "rubbish").write_text("rubbish")
    (place / "link.html").symlink_to(place / "elsewhere.html")

    code, said = report(*(argument.format(place=place) for argument in arguments))

    assert code == Exit.USAGE
    assert expected in said
    assert "Traceback" not in said
    assert sorted(path.name for path in place.iterdir()) == ["link.html", "rubbish"]
