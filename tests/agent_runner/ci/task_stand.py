"""What the tests of `pairlock ci` share: a project with a task, and a way to call the command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from typer.testing import CliRunner, Result

from agent_runner.cli.ci import app
from agent_runner.cli.exits import leave

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """\
version: 1
name: mend
grant: [files, exec]
exec: {programs: [sh, python3]}
commands: {allow: ["files *", run]}
"""
TASK = """\
version: 1
name: mend
policy: ../policies/mend.yaml
workspace: ../project
prompt: mend it
model: scripted:../script.yaml
"""


@dataclass(frozen=True)
class Project:
    """A folder with a workspace, a folder of tasks and a script."""

    folder: Path

    @property
    def workspace(self) -> Path:
        """Return the folder that tasks work on."""
        return self.folder / "project"

    def task(self, more: str = "", *, name: str = "mend", base: str = TASK) -> Path:
        """Write a task file."""
        return self.write(f"tasks/{name}.yaml", base.replace("name: mend", f"name: {name}") + more)

    def script(self, *turns: str, name: str = "script.yaml") -> Path:
        """Write a script: each turn a list of actions as YAML."""
        return self.write(name, "version: 1\nturns:\n" + "".join(f"  - actions: {turn}\n" for turn in turns))

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


def project_in(folder: Path) -> Project:
    """Make a project: a policy, a task, a workspace with two files."""
    project = Project(folder)
    project.write("policies/mend.yaml", POLICY)
    project.write("project/app.txt", "broken\n")
    project.write("project/tests/test_app.txt", "mended")
    return project


def pairlock(*arguments: object) -> Result:
    """Run `pairlock ci`; an error becomes the exit code that the program would leave with."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        result.exit_code = leave(result.exception)
    return result
