"""`pairlock policy new`: a draft for each grant, and by questions in a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent_runner.policy_file import load_policy
from tests.agent_runner.policy_stand import pairlock, written


@pytest.mark.parametrize(
    "grant", ["none", "files", "network", "exec", "files,network", "exec+files", "network, exec", ""]
)
def test_a_draft_for_each_grant_loads_and_is_met(tmp_path: Path, grant: str) -> None:
    result = pairlock("new", "--grant", grant, "--name", "mine")

    policy = load_policy(str(written(tmp_path, "mine.yaml", result.stdout))).policy
    assert result.exit_code == 0
    assert policy.name == "mine"
    assert policy.expect


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "there is no terminal to ask questions on"),
        (("--grant", "files,netwrk"), 2, "did you mean `network`?"),
        (("--grant", "files,network,exec"), 3, "at most two"),
        (("--grant", "files", "--name", "Not a name"), 2, "is not a name"),
    ],
)
def test_a_draft_that_cannot_be_made_says_why(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = pairlock("new", *arguments)

    assert (result.exit_code, result.stdout) == (code, "")
    assert said in capsys.readouterr().err


def _on_a_terminal(tmp_path: Path, answers: list[str]) -> tuple[int, str, str]:
    """Run `pairlock policy new` with a terminal for its questions and a file for its policy."""
    leader, follower = pty.openpty()
    with (tmp_path / "out.yaml").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "agent_runner", "policy", "new"],
            stdin=follower,
            stdout=out,
            stderr=follower,
            env={**os.environ, "TERM": "dumb", "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    os.close(follower)
    shown = ""
    given = 0
    end = time.monotonic() + 120
    while time.monotonic() < end:
        ready, _, _ = select.select([leader], [], [], 1)
        try:
            shown += os.read(leader, 4096).decode() if ready else ""
        except OSError:
            break
        if given < min(len(answers), shown.count("]: ")):
            os.write(leader, (answers[given] + "\n").encode())
            given += 1
    os.close(leader)
    return process.wait(timeout=60), shown, (tmp_path / "out.yaml").read_text()


def test_questions_in_a_terminal_become_a_policy_that_loads(tmp_path: Path) -> None:
    answers = ["mine", "files,network,exec", "network,exec", "pytest, ruff", "*.com", "docs.python.org"]

    code, shown, text = _on_a_terminal(tmp_path, answers)

    policy = load_policy(str(written(tmp_path, "mine.yaml", text))).policy
    assert code == 0
    said = " ".join(shown.split())  # folded at the terminal's width
    assert "all three were asked for" in said
    assert "is too wide" in said
    assert (policy.name, policy.grant.label) == ("mine", "network+exec")
    assert policy.exec is not None
    assert policy.exec.programs.names == ("pytest", "ruff")
    assert policy.network is not None
    assert [rule.host.text for rule in policy.network.allow] == ["docs.python.org"]
