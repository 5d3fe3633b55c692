"""The report of a session that really ran: its stage's changes, its policy, its sandbox's evidence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_runner.report.gather import Pins, gather_report
from agent_runner.report.page import render
from agent_runner.report.visible import plain
from tests.agent_runner.report.reading import Page

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.engine
ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "fix-tests"
RUN = (
    "run",
    "make the tests pass",
    "--policy",
    "fix-tests",
    "--model",
    f"scripted:{EXAMPLE / 'script.yaml'}",
)


def pairlock(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pairlock on a state folder."""
    return subprocess.run(
        [sys.executable, "-m", "agent_runner", *arguments],
        cwd=ROOT,
        env=os.environ | {"PAIRLOCK_STATE": str(state), "CI": "true"},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_a_session_that_really_ran_is_told_with_its_changes(
    new_state: Callable[[], Path], tmp_path: Path
) -> None:
    state, workspace, target = new_state(), tmp_path / "package", tmp_path / "report.html"
    shutil.copytree(EXAMPLE / "package", workspace)
    done = pairlock(state, *RUN, "--workspace", str(workspace))
    assert done.returncode == 0, done.stderr
    hook = next((state / "sessions").iterdir()) / "stage" / "upper" / "Makefile"
    hook.write_text("all:\n\techo \u202eevil\n")

    made = pairlock(state, "audit", "report", "-o", str(target))
    page = Page(target.read_text("utf-8"))

    assert made.returncode == 0, made.stderr
    assert "the ledger agrees with itself: self-claimed by" in made.stderr
    files = {file["path"]: file for file in page.data["files"]}
    sources = [file for path, file in files.items() if path.endswith(".py")]
    assert sources
    assert all("\n+" in file["patch"] for file in sources)
    assert files["Makefile"]["later"]
    assert plain(files["Makefile"]["patch"]).splitlines()[-1] == "+\techo \\u202eevil"
    assert "1 run on your machine later: Makefile" in page.text
    report = gather_report(state, next((state / "sessions").iterdir()).name, Pins())
    assert report.policy.policy is not None
    assert report.fold.attested is not None
    assert report.fold.attested.evidence[0].check in page.text
    assert {step["name"] for step in page.data["steps"] if step["kind"] == "action"} >= {"run", "finish"}
    hook.unlink()

    applied = pairlock(state, "apply", "last", "--yes")
    after = Page(render(gather_report(state, report.session, Pins())))

    assert applied.returncode == 0, applied.stderr
    assert "written to" in after.text
    assert "label.changed" in after.text
