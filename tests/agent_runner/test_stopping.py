"""A session is stopped gracefully, and where it does not end its runner is killed; nothing else ever is."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from agent_runner import door
from agent_runner.errors import InvalidInputError, RunnerError
from agent_runner.stopping import stop_session
from tests.agent_runner.reachable import LONG, reachable
from tests.agent_runner.stand import SESSION

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
