"""Run agent tasks beside a project's tests: `pairlock ci TASK…`, `ci init|trust|schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from agent_runner.cli.ci_compare import compare
from agent_runner.cli.commands import Group
from agent_runner.cli.talk import say


class TaskGroup(Group):
    """Take whatever is no command of the group for a task, so that `pairlock ci tasks/` runs them."""

    otherwise = "pairlock ci run"
    """The command that is meant where none is named."""

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
Tasks = Annotated[list[str], typer.Argument(metavar="TASK|DIR", help="Task files, or folders of them.")]


@app.command("run")
def run(  # noqa: PLR0913, PLR0917 - typer makes an option of each
    tasks: Tasks,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, max=256, help="Tasks at once; one for each processor."),
    ] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="A name, a tag, or a pattern with `*`; may be given again."),
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Start no other task once one failed.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="A new folder for what comes of them."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in `--output`: only what it did not come to.")
    ] = False,
    repeat: Annotated[
        int,
        typer.Option("--repeat", min=1, max=100, help="Run each so often; say how often it passes."),
    ] = 1,
    shard: Annotated[
        str, typer.Option("--shard", metavar="I/N", help="Run the I-th of N parts alone, as in `1/4`.")
    ] = "",
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="DIR", help="Keep the model's side of sessions there."),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option("--replay", metavar="DIR", help="Ask no model: the recordings there answer."),
    ] = None,
    replay_until_different: Annotated[
        bool,
        typer.Option("--replay-until-different", help="Go on with a model where a recording no longer fits."),
    ] = False,
    policy_diff: Annotated[
        str,
        typer.Option(
            "--policy-diff",
            metavar="OLD",
            help="Run nothing: tell which recorded actions are decided otherwise than under OLD.",
        ),
    ] = "",
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Also write JUnit XML there.")
    ] = None,
    summary: Annotated[
        Path | None, typer.Option("--summary", metavar="FILE", help="Also write the Markdown summary there.")
    ] = None,
    sarif: Annotated[
        Path | None, typer.Option("--sarif", metavar="FILE", help="Also write SARIF 2.1.0 there.")
    ] = None,
    annotations: Annotated[
        bool, typer.Option("--annotations", help="Print annotations for GitHub outside of its steps, too.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what came of them as one JSON object.")
    ] = False,
) -> None:
    """Run tasks, each in its own sandbox, and their checks on what it left; `run` may be left out.

    0 when every task passed; else the exit code that the failed ones have in common, or 1; 6 when a ledger
    does not verify.
    """
    import tempfile

    from agent_runner.ci.cases import Shard
    from agent_runner.ci.findings import findings_of
    from agent_runner.ci.plan import begun
    from agent_runner.cli.ci_copies import require_own_folder
    from agent_runner.cli.ci_policies import show_policy_diff
    from agent_runner.cli.ci_running import Wanted, chosen_cases, run_chosen
    from agent_runner.cli.ci_written import Copies, print_annotations, print_results, write_results
    from agent_runner.errors import InvalidInputError

    copies = Copies(junit=junit, sarif=sarif, summary=summary)
    copies.require_usable()
    if output is not None:
        require_own_folder(output)
    if resume and output is None:
        raise InvalidInputError("`--resume` needs `--output`", hint="name the folder of the run")
    wanted = Wanted(
        references=tuple(tasks),
        filters=tuple(filters or ()),
        repeat=repeat,
        shard=Shard.parse(shard) if shard else None,
        record=record,
        replay=replay,
        live=replay_until_different,
    )
    cases, state = chosen_cases(wanted)
    if policy_diff:
        show_policy_diff(cases, wanted, policy_diff, as_json=as_json)
        return
    folder = output or Path(tempfile.mkdtemp(prefix="pairlock-ci-"))
    with begun(folder, cases, state=state, resume=resume) as run_begun:
        results = run_chosen(cases, wanted, run_begun, state=state, jobs=jobs, fail_fast=fail_fast)
        findings = findings_of(results, state)
        unwritten = write_results(results, findings, run_begun.kept, copies)
        code = print_results(results, run_begun.kept, as_json=as_json) or unwritten
    print_annotations(findings, asked=annotations)
    if code:
        raise typer.Exit(code)


app.command("compare")(compare)


@app.command("init")
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The task file to write.")] = Path(
        "tasks/first.yaml"
    ),
) -> None:
    """Write a first task file, and trust it; nothing that is there is replaced."""
    from agent_runner import trust as record
    from agent_runner.ci.first import write_first
    from agent_runner.models import configuration_path
    from agent_runner.starting import is_model_configured
    from agent_runner.state import state_folder
    from audit.escape import escape_line
    from audit.state import prepare

    state = prepare(state_folder()).folder
    task = write_first(file)
    record.trust(state, task.closure)
    say(escape_line(f"{file}: policy `{task.policy.name}`, {task.policy.grant.label}; trusted as it stands"))
    say(escape_line(f"  once you changed it: pairlock ci trust {file}"))
    say(
        escape_line(
            f"  start, with a folder outside of the workspace: pairlock ci {file} --output ../results"
        )
    )
    if not is_model_configured():
        say(escape_line(f"  no model is configured in {configuration_path()}: the start says how"))


@app.command("trust")
def trust(tasks: Tasks) -> None:
    """Trust task files as they stand, with the policies they name; changed ones have to be trusted again."""
    from agent_runner import trust as record
    from agent_runner.ci.annotations import log_line
    from agent_runner.ci.reading import read_tasks, tasks_meant
    from agent_runner.state import state_folder

    state = state_folder()
    for task in read_tasks(tasks_meant(tasks)):
        known = record.is_trusted(state, task.closure.digest)
        if not known and (changed := record.changes(state, task.closure)):
            say(log_line(f"what changed in {task.origin} since it was last trusted:"))
            for line in changed.splitlines():
                say(log_line(line))
        record.trust(state, task.closure)
        told = f"policy `{task.policy.name}`, grant {task.policy.grant.label}, {task.closure.digest[:16]}"
        typer.echo(log_line(f"trusted {task.origin} as it stands: {told}"))


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a task file, for editors."""
    import json

    from agent_runner.ci.task import TaskFile
    from policies.schema import schema_of

    typer.echo(json.dumps(schema_of(TaskFile, title="pairlock task"), indent=2))
