"""A session is stopped gracefully, and where it does not end its runner is killed; nothing else ever is."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from agent_runner import door
from agent_runner.cli import runners
from agent_runner.errors import InvalidInputError, RunnerError
from agent_runner.stopping import stop_session
from tests.agent_runner.reachable import LONG, reachable
from tests.agent_runner.stand import SESSION
from tests.agent_runner.test_killed_answerers import question_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent_runner.stand import Stand


pytestmark = pytest.mark.usefixtures("runtime")


def test_a_session_that_heeds_the_request_ends_by_itself(stand: Stand, runtime: Path) -> None:
    with reachable(stand, "heeds", runtime) as process:
        assert stop_session(stand.state, SESSION) == "stopped"
        assert process.wait(LONG) == 0


def test_a_session_that_does_not_end_is_killed(stand: Stand, runtime: Path) -> None:
    with reachable(stand, "deaf", runtime) as process:
        assert stop_session(stand.state, SESSION, grace_seconds=0.5) == "killed"
        assert process.wait(LONG) == -signal.SIGKILL


def test_a_runner_that_is_frozen_is_killed(
    stand: Stand, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not even answer; the kernel accepts the connection for it."""
    monkeypatch.setattr(door, "_ANSWER_SECONDS", 0.5)
    with reachable(stand, "heeds", runtime) as process:
        os.kill(process.pid, signal.SIGSTOP)

        assert stop_session(stand.state, SESSION) == "killed"
        assert process.wait(LONG) == -signal.SIGKILL


def test_a_process_that_runs_more_than_the_session_is_not_killed(stand: Stand, runtime: Path) -> None:
    with reachable(stand, "hosted", runtime) as process:
        with pytest.raises(RunnerError, match="its process runs more"):
            stop_session(stand.state, SESSION, grace_seconds=0.5)

        assert process.poll() is None


def test_a_session_at_whose_socket_nobody_listens_kills_nobody(stand: Stand) -> None:
    with pytest.raises(InvalidInputError, match="no runner of session"):
        stop_session(stand.state, SESSION)


def test_a_session_that_listens_elsewhere_is_not_said_to_have_ended(
    stand: Stand, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under `sudo` or `cron`; once it was killed, it is."""
    monkeypatch.setenv("PAIRLOCK_STATE", str(stand.state))
    (stand.folder / "a").touch()
    with reachable(stand, "asks", runtime) as process:
        question_of(1)
        (runtime / "other").mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "other"))

        for command in (runners.stop, lambda name: runners.approve(name, None)):
            with pytest.raises(InvalidInputError, match="no runner of session") as running:
                command(SESSION)
            assert running.value.hint.startswith("it runs: it has just begun")
        process.kill()
        process.wait(LONG)
        with pytest.raises(InvalidInputError, match="no runner of session") as ended:
            runners.stop(SESSION)

    assert ended.value.hint == f"it has ended or was killed: `pairlock show {SESSION}` says how"
