"""Write and check policies: `pairlock policy list|check|explain|trust|schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent_runner.cli.exits import Exit
from agent_runner.cli.talk import say

app = typer.Typer(help="Write and check policies.", no_args_is_help=True, rich_markup_mode=None)
Reference = Annotated[str, typer.Argument(metavar="POLICY", help="A file, or a name of the library.")]


@app.command("list")
def list_policies() -> None:
    """List the policies that ship with pairlock."""
    from agent_runner.policy_file import load_policy
    from policies.library import library_names

    for name in library_names():
        policy = load_policy(name).policy
        typer.echo(f"{name:<22}{policy.grant.label:<15}{policy.description or ''}")


@app.command("check")
def check(
    policy: Reference,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail as well.")] = False,
) -> None:
    """Check a policy: its form, its own expectations, and what it leaves open without need."""
    from agent_runner.policy_file import load_policy
    from audit.escape import escape_line
    from cli_tools.catalogue import built_in
    from cli_tools.vocabulary import vocabulary
    from policies.check import check as lint

    loaded = load_policy(policy)
    report = lint(loaded.policy, vocabulary(built_in()))
    for finding in report.findings:
        typer.echo(escape_line(str(finding)))
    say(f"{loaded.origin}: {loaded.policy.grant.label}, {len(report.findings)} findings")
    if strict and report.findings:
        raise typer.Exit(Exit.FAILED)


@app.command("trust")
def trust(file: Annotated[Path, typer.Argument(metavar="FILE", help="A policy inside a workspace.")]) -> None:
    """Trust a workspace's own policy as it stands; a changed one has to be trusted again."""
    from agent_runner import trust as record
    from agent_runner.policy_file import load_policy
    from agent_runner.state import state_folder
    from policies.trust import closure_of

    loaded = load_policy(str(file) if "/" in str(file) else f"./{file}")
    digest = closure_of(loaded.policy).digest
    record.trust(state_folder(), origin=str(file.resolve()), digest=digest)
    typer.echo(f"trusted {file} as it stands: {digest[:16]}")
