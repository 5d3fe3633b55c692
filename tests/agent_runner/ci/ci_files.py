"""Run the steps of action.yml and of the GitLab template as runners do: bash, a folder, an environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPOSITORY = Path(__file__).parents[3]
ACTION = REPOSITORY / "action.yml"
GITLAB = REPOSITORY / "examples/ci/gitlab.yml"
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main")


def loaded(path: Path) -> Any:
    """Return a YAML file."""
    return YAML(typ="safe").load(path.read_text("utf-8"))


@dataclass(frozen=True)
class Checkout:
    """A repository with a branch of its own and a change to it, as a runner has checked it out."""

    folder: Path

    @property
    def tree(self) -> Path:
        """Return the working tree."""
        return self.folder / "checkout"

    @property
    def temp(self) -> Path:
        """Return the runner's folder for temporary files."""
        return self.folder / "temp"

    def git(self, *words: str) -> str:
        """Run git in the working tree."""
        done = subprocess.run(
            [*_GIT, "-C", str(self.tree), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def write(self, name: str, text: str) -> Path:
        """Write a file of the working tree."""
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def commit(self) -> str:
        """Commit everything, and return the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "x")
        return self.git("rev-parse", "HEAD")

    def step(self, step: Mapping[str, Any], **values: str) -> subprocess.CompletedProcess[str]:
        """Run one step of the action as GitHub's runner does, with `inputs.x` and the like as given."""
        known = {
            "runner.temp": str(self.temp), "github.action_path": str(REPOSITORY),
            "github.event.pull_request.base.sha": "", "github.sha": self.git("rev-parse", "HEAD"),
            **{f"inputs.{name}": each["default"] for name, each in loaded(ACTION)["inputs"].items()},
            **values,
        }  # fmt: skip
        told = {name: _evaluated(str(value), known) for name, value in step.get("env", {}).items()}
        assert "${{" not in step["run"]
        folder = _evaluated(step.get("working-directory", str(self.tree)), known)
        return self.bash(step["run"], Path(folder), told)

    def bash(self, text: str, folder: Path, told: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a script as both runners do."""
        script = self.temp / "step.sh"
        script.write_text(text)
        given = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), "LANG": "C.UTF-8",
            "RUNNER_TEMP": str(self.temp), "GITHUB_ACTIONS": "true", "CI": "true",
            "GITHUB_WORKSPACE": str(self.tree), "GITHUB_OUTPUT": str(self.temp / "output"),
            "GITHUB_STEP_SUMMARY": str(self.temp / "summary"),
            **{name: value for name, value in os.environ.items() if name.startswith(("DOCKER_", "PIP_"))},
        }  # fmt: skip
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=folder, env={**given, **told}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip

    def results(self) -> Path:
        """Return the folder that the action named as its output."""
        lines = dict(line.split("=", 1) for line in (self.temp / "output").read_text().splitlines())
        return Path(lines["results"])


def steps() -> dict[str, Any]:
    """Return the steps of the action by what they begin with: install, trust, run."""
    return {each["name"].split()[0].lower(): each for each in loaded(ACTION)["runs"]["steps"]}


def checkout_in(folder: Path) -> Checkout:
    """Make an empty repository, and what the install step would have left."""
    made = Checkout(folder)
    for each in (made.tree, made.temp / "pairlock-venv/bin", folder / "home"):
        each.mkdir(parents=True)
    (made.temp / "pairlock-venv/bin/pairlock").symlink_to(Path(sys.executable).parent / "pairlock")
    made.git("init", "--quiet")
    return made


def _evaluated(text: str, known: Mapping[str, str]) -> str:
    """Return a text with its expressions filled in: names, and the first that is not empty of several."""

    def value(found: re.Match[str]) -> str:
        return next(filter(None, _operands(found[1], known)), "")

    return _EXPRESSION.sub(value, text)


def _operands(expression: str, known: Mapping[str, str]) -> Iterator[str]:
    for name in expression.split("||"):
        yield known[name.strip()]
