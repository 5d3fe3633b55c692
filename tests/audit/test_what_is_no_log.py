"""What lies among the sessions' folders and bears no log's name is no session's, for every verifier."""

import asyncio
import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from audit import standalone
from audit.state import StateFiles
from audit.verify import verify_all
from tests.audit import third_party
from tests.audit.samples import SESSION, Recorder

NOBODY = "yyyyyyyyyyyy"
LAST = "zzzzzzzzzzzz"
Planted = Callable[[Path], object]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state of two sessions."""
    state = tmp_path_factory.mktemp("honest") / "state"
    asyncio.run(Recorder(state).whole(SESSION, actions=40))
    asyncio.run(Recorder(state).whole(LAST, actions=3))
    return state


def judged(state: Path) -> dict[str, list[str]]:
    """Return the logs that each verifier finds a fault with, each with the host's key."""
    key = StateFiles(state).host_vkey.read_text()
    command = [sys.executable, "-I", standalone.__file__, str(state), "--key", key]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return {
        "verify": [one.log for one in verify_all(state, pinned_vkey=key) if one.faults()],
        "third party": third_party.faults(state, key),
        "standalone": [line[:12] for line in done.stdout.splitlines() if "BROKEN" in line],
    }


NOTHING: dict[str, list[str]] = {"verify": [], "third party": [], "standalone": []}


def folder_of_nobody(sessions: Path) -> Path:
    (sessions / NOBODY).mkdir()
    return sessions / NOBODY


NO_SESSIONS: dict[str, Planted] = {
    "an empty folder": folder_of_nobody,
    "a folder with a lock": lambda sessions: (folder_of_nobody(sessions) / "writer.lock").touch(),
    "a file": lambda sessions: (sessions / NOBODY).touch(),
    "a pipe": lambda sessions: os.mkfifo(sessions / NOBODY),
    "a link to nothing": lambda sessions: (sessions / NOBODY).symlink_to("nothing"),
    "a link to itself": lambda sessions: (sessions / NOBODY).symlink_to(NOBODY),
}
NO_FILES = (
    "events.jsonl.0",
    "events.jsonl.01",
    "events.jsonl.-1",
    "events.jsonl.\u00b2",
    "events.jsonl.\u0661",
)


@pytest.mark.parametrize("name", NO_SESSIONS)
def test_what_holds_no_log_is_no_session_and_hides_none(honest: Path, tmp_path: Path, name: str) -> None:
    """A disk that was full when a session began leaves such a folder; the others are judged all the same."""
    state = shutil.copytree(honest, tmp_path / "state")
    sessions = state / "sessions"

    NO_SESSIONS[name](sessions)

    key = StateFiles(state).host_vkey.read_text()
    assert [one.log for one in verify_all(state, pinned_vkey=key)] == ["host", SESSION, LAST]
    assert judged(state) == NOTHING
    shutil.rmtree(sessions / LAST)
    missing = {"verify": [LAST], "third party": [f"{LAST} is gone"], "standalone": [LAST]}
    assert judged(state) == missing


@contextmanager
def as_somebody(state: Path) -> Iterator[Path]:
    """Yield a copy of a state that belongs to an ordinary user, and be that user: root reads everything."""
    user = os.geteuid()
    somebody = user or 65534
    with TemporaryDirectory() as name:  # pytest's own are root's alone
        mine = shutil.copytree(state, Path(name) / "state")
        for path in (Path(name), mine, *mine.rglob("*")):
            os.chown(path, somebody, -1)
        os.seteuid(somebody)
        try:
            yield mine
        finally:
            os.seteuid(user)


@pytest.mark.parametrize(
    ("path", "mode", "why"),
    [
        ("", 0o000, "it cannot be looked into: permission denied"),
        ("", 0o400, "it cannot be looked into: permission denied"),
        ("/events.jsonl", 0o000, "`events.jsonl` cannot be read: permission denied"),
        ("/writer.lock", 0o000, f"cannot tell whether `{SESSION}/writer.lock` is held: permission denied"),
    ],
)
def test_a_session_that_cannot_be_looked_into_hides_no_other(
    honest: Path, path: str, mode: int, why: str
) -> None:
    key = StateFiles(honest).host_vkey.read_text()
    with as_somebody(honest) as state:
        assert [one.log for one in verify_all(state, pinned_vkey=key) if one.faults()] == []
        (state / f"sessions/{SESSION}{path}").chmod(mode)
        folder_of_nobody(state / "sessions").chmod(mode if path == "" else 0o700)

        found = {one.log: one for one in verify_all(state, pinned_vkey=key)}

        for name in (SESSION, NOBODY):
            (state / f"sessions/{name}").chmod(0o700)
    assert found[SESSION].faults()["integrity"].split(": ", 1)[1].split("; ")[0] == why
    assert found[LAST].faults() == {}
    assert (NOBODY in found) is (path == "")


@pytest.mark.parametrize("name", NO_FILES)
def test_a_file_of_another_name_is_none_of_the_logs(honest: Path, tmp_path: Path, name: str) -> None:
    state = shutil.copytree(honest, tmp_path / "state")
    folder = state / "sessions" / SESSION

    (folder / name).write_bytes((folder / "events.jsonl").read_bytes())

    assert judged(state) == NOTHING
    (folder / name).rename(folder / "events.jsonl.1")
    assert judged(state) == {**NOTHING, "verify": [SESSION], "standalone": [SESSION]}


def test_a_folder_that_bears_no_id_is_no_session(honest: Path, tmp_path: Path) -> None:
    state = shutil.copytree(honest, tmp_path / "state")

    shutil.copytree(state / "sessions" / SESSION, state / "sessions" / "NOT-AN-ID")

    assert judged(state) == NOTHING


def test_a_log_that_is_a_link_to_nothing_is_told(honest: Path, tmp_path: Path) -> None:
    state = shutil.copytree(honest, tmp_path / "state")

    (folder_of_nobody(state / "sessions") / "events.jsonl").symlink_to("nothing")

    found = judged(state)
    assert (found["verify"], found["standalone"]) == ([NOBODY], [NOBODY])


def test_a_folder_that_cannot_be_looked_into_is_told_by_the_single_file_too(honest: Path) -> None:
    with as_somebody(honest) as state:
        folder_of_nobody(state / "sessions").chmod(0o000)
        found = [one.log for one in verify_all(state) if one.faults()]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["verify.py", str(state)])
            code = standalone.main()
        (state / "sessions" / NOBODY).chmod(0o700)
    broken = [line[:12] for line in said.getvalue().splitlines() if "BROKEN" in line]
    assert (code, found, broken) == (1, [NOBODY], [NOBODY])
