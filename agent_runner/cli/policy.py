"""Write and check policies: `pairlock policy new|check|explain|test|diff|schema|trust|list`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.exits import Exit
from agent_runner.cli.talk import say

if TYPE_CHECKING:
    from policies.facts import CommandFacts
    from policies.policy import Policy

app = typer.Typer(help="Write and check policies.", no_args_is_help=True, rich_markup_mode=None)
Reference = Annotated[str, typer.Argument(metavar="POLICY", help="A file, or a name of the library.")]


def _commands() -> tuple[CommandFacts, ...]:
    from cli_tools.catalogue import built_in
    from cli_tools.vocabulary import vocabulary

    return vocabulary(built_in())


def _load(reference: str) -> Policy:
    from agent_runner.policy_file import load_policy

    return load_policy(reference).policy


@app.command("list")
def list_policies() -> None:
    """List the policies that ship with pairlock."""
    from policies.library import library_names, library_policy
    from policies.source import parse_policy

    for name in library_names():
        source = library_policy(name)
        if source is not None:
            policy = parse_policy(source.text, origin=source.origin, find=library_policy)
            typer.echo(f"{name:<22}{policy.grant.label:<15}{policy.description or ''}")


@app.command("check")
def check(
    policy: Reference,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail as well.")] = False,
) -> None:
    """Check a policy: its form, its own expectations, and what it leaves open without need."""
    from audit.escape import escape_line
    from policies.check import check as lint

    loaded = _load(policy)
    report = lint(loaded, _commands())
    for finding in report.findings:
        typer.echo(escape_line(str(finding)))
    say(f"{policy}: grant {loaded.grant.label}, {report.verdict}")
    if report.fails(strict=strict):
        raise typer.Exit(Exit.FAILED)


@app.command("explain", context_settings={"ignore_unknown_options": True})
def explain(
    policy: Reference,
    action: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- ACTION...]", help="An action, as an agent would write it."),
    ] = None,
) -> None:
    """Say in plain words what an agent under a policy can and cannot do, or how one action is decided."""
    import shlex

    from audit.escape import escape
    from policies.action_line import request_from_line
    from policies.decide import decide
    from policies.explain import explain as explained
    from policies.explain import explain_decision
    from policies.request import Allowed, SessionFacts

    loaded = _load(policy)
    if not action:
        typer.echo(escape(explained(loaded, _commands()).text(), keep="\n"))
        return
    request = request_from_line(shlex.join(action), _commands())
    decision = decide(loaded, SessionFacts(grant=loaded.grant, headless=False), request)
    typer.echo(escape(explain_decision(request, decision), keep="\n"))
    if not isinstance(decision, Allowed):
        raise typer.Exit(Exit.DENIED)


@app.command("test")
def run_tests(
    policies: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Policy files, or folders of them.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a policy.")] = False,
) -> None:
    """Run policies' own expectations, and name the rules that none of them touches."""
    import dataclasses
    import json

    from agent_runner.policy_file import parse_file
    from audit.escape import escape_line
    from policies.expectations import run_expectations

    failed = 0
    for path in _files(policies):
        run = run_expectations(parse_file(path), _commands())
        failed += len(run.failures)
        if as_json:
            outcomes = [dataclasses.asdict(outcome) for outcome in run.outcomes]
            typer.echo(json.dumps({"file": str(path), "outcomes": outcomes}, default=str))
            continue
        for outcome in run.failures:
            typer.echo(
                escape_line(
                    f"{outcome.at or path}: `{outcome.line}`: expected {outcome.expected}, "
                    f"decided {outcome.actual or 'nothing'}: {outcome.message}"
                )
            )
        met = len(run.outcomes) - len(run.failures)
        typer.echo(f"{path}: {met} of {len(run.outcomes)} met, {len(run.untouched)} rules untouched")
        for at in run.untouched:
            say(f"  untouched: {at}")
    if failed:
        raise typer.Exit(Exit.FAILED)


def _files(paths: list[Path]) -> list[Path]:
    """Return the files that are meant: a folder means its `*.yaml`."""
    return [file for path in paths for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])]


@app.command("diff")
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="The policy as it was.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The policy as it would be.")],
) -> None:
    """Show what B allows that A did not, with an action that shows it; exit 1 when B is wider."""
    from audit.escape import escape_line
    from policies.diff import diff as compare

    found = compare(_load(first), _load(second), _commands())
    for sign, changes in (("+", found.widenings), ("-", found.narrowings)):
        for change in changes:
            witness = f"   for example: {change.witness}" if change.witness else ""
            typer.echo(escape_line(f"{sign} {change.message}{witness}"))
    if found.widenings:
        raise typer.Exit(Exit.FAILED)
    say("not wider")


@app.command("schema")
def schema(
    document: Annotated[str, typer.Argument(metavar="[policy|ceiling]", help="Which file.")] = "policy",
) -> None:
    """Print the JSON Schema of a policy file, for editors."""
    import json

    from agent_runner.errors import InvalidInputError
    from policies.schema import json_schema

    if document not in ("policy", "ceiling"):
        raise InvalidInputError(f"no schema of `{document[:40]}`", hint="`policy` or `ceiling`")
    typer.echo(json.dumps(json_schema("policy" if document == "policy" else "ceiling"), indent=2))


@app.command("new")
def new(
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="ID", help="A session: the narrowest policy it would have run under."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What the policy is called.")] = "new-policy",
    grant: Annotated[str, typer.Option("--grant", help="Capabilities with commas, at most two.")] = "",
) -> None:
    """Write a policy to stdout: from a recorded session, or a first one for a grant."""
    from agent_runner.drafting import first_draft, from_session
    from agent_runner.state import state_folder

    if source is None and not grant and sys.stdin.isatty():
        grant = typer.prompt("capabilities (files, network, exec; at most two)", default="files", err=True)
    text = first_draft(name, grant) if source is None else from_session(state_folder(), source, name)
    typer.echo(text, nl=not text.endswith("\n"))


@app.command("trust")
def trust(file: Annotated[Path, typer.Argument(metavar="FILE", help="A policy inside a workspace.")]) -> None:
    """Trust a workspace's own policy as it stands; a changed one has to be trusted again."""
    from agent_runner import trust as record
    from agent_runner.policy_file import trust_digest
    from agent_runner.state import state_folder

    digest = trust_digest(file)
    record.trust(state_folder(), origin=str(file.resolve()), digest=digest)
    typer.echo(f"trusted {file} as it stands: {digest[:16]}")
