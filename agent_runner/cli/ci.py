"""Run agent tasks beside a project's tests: `pairlock ci TASK…`, `ci init|trust|schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from agent_runner.cli.talk import say


class TaskGroup(TyperGroup):
    """Take whatever is no command of the group for a task, so that `pairlock ci tasks/` runs them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name `run` where nothing else is named."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=TaskGroup,
    help="Run agent tasks beside a project's tests, each in its own sandbox, and check what came of them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Tasks = Annotated[list[str], typer.Argument(metavar="TASK|DIR...", help="Task files, or folders of them.")]


@app.command("init")
def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="The task file to write.")] = Path(
        "tasks/first.yaml"
    ),
) -> None:
    """Write a first task file, and trust it; nothing that is there is replaced."""
    from agent_runner import trust as record
    from agent_runner.ci.first import write_first
    from agent_runner.state import state_folder
    from audit.escape import escape_line

    task = write_first(file)
    record.trust(state_folder(), task.closure)
    say(escape_line(f"{file}: policy `{task.policy.name}`, {task.policy.grant.label}; trusted as it stands"))
    say(escape_line(f"  once you changed it: pairlock ci trust {file}"))
    say(escape_line(f"  start: pairlock ci {file}"))


@app.command("trust")
def trust(tasks: Tasks) -> None:
    """Trust task files as they stand, with the policies they name; changed ones have to be trusted again."""
    from agent_runner import trust as record
    from agent_runner.ci.reading import read_tasks, tasks_meant
    from agent_runner.state import state_folder
    from audit.escape import escape_line

    state = state_folder()
    for task in read_tasks(tasks_meant(tasks)):
        known = record.is_trusted(state, task.closure.digest)
        if not known and (changed := record.changes(state, task.closure)):
            say(escape_line(f"what changed in {task.origin} since it was last trusted:"))
            for line in changed.splitlines():
                say(escape_line(line))
        record.trust(state, task.closure)
        told = f"policy `{task.policy.name}`, grant {task.policy.grant.label}, {task.closure.digest[:16]}"
        typer.echo(escape_line(f"trusted {task.origin} as it stands: {told}"))


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a task file, for editors."""
    import json

    from agent_runner.ci.task import TaskFile
    from policies.schema import schema_of

    typer.echo(json.dumps(schema_of(TaskFile, title="pairlock task"), indent=2))
