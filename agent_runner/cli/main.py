"""Hold the command line together: one Typer app, one file for each group, one place where errors end."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from agent_runner.cli import (
    audit,
    bench,
    clean,
    doctor,
    image,
    mcp,
    model,
    policy,
    resume,
    review,
    review_apply,
    review_outputs,
    review_workspace,
    run,
    runners,
    sessions,
    show,
    start,
    tools,
)
from agent_runner.cli.descriptors import fill_standard
from agent_runner.cli.exec import ExecCommand, run_exec
from agent_runner.cli.exits import Exit, leave

app = typer.Typer(
    name="pairlock",
    help="Launch AI agent sessions that hold at most two of three: files, network, code execution.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("run")(run.run)
app.command("exec", cls=ExecCommand, context_settings={"allow_interspersed_args": False})(run_exec)
app.command("resume")(resume.resume)
app.command("attach")(runners.attach)
app.command("stop")(runners.stop)
app.command("approve")(runners.approve)
app.command("deny")(runners.deny)
app.command("show")(show.show)
app.command("ps")(sessions.list_sessions)
app.command("diff")(review.diff)
app.command("apply")(review_apply.apply)
app.command("discard")(review.discard)
app.command("outputs")(review_outputs.outputs)
app.command("review")(review_workspace.review)
app.add_typer(policy.app, name="policy")
app.add_typer(audit.app, name="audit")
app.add_typer(model.app, name="model")
app.add_typer(image.app, name="image")
tools.app.command("mcp")(mcp.mcp)
app.add_typer(tools.app, name="tools")
app.command("init")(start.init)
app.command("doctor")(doctor.doctor)
app.command("bench")(bench.bench)
app.command("clean")(clean.clean)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    if wanted:
        from agent_runner.package import pairlock_version

        typer.echo(pairlock_version())
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and leave with its exit code."""
    fill_standard()
    try:
        app()
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.FAILED)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the one place where every error ends
        sys.exit(leave(error))
