"""Read and compare policies: `pairlock policy list|check|explain|diff|schema|trust`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli import policy_new, policy_test
from agent_runner.cli.commands import Group
from agent_runner.cli.exits import Exit
from agent_runner.cli.folding import columns_of, wrapped
from agent_runner.cli.policy_talk import Json, commands, print_json
from agent_runner.cli.talk import WIDTH, say
from audit.escape import escape, escape_line

if TYPE_CHECKING:
    from policies.policy import Policy

app = typer.Typer(cls=Group, help="Write and check policies.", no_args_is_help=True, rich_markup_mode=None)
app.command("new")(policy_new.new)
app.command("test")(policy_test.run_tests)
Reference = Annotated[str, typer.Argument(metavar="POLICY", help="A file, or a name of the library.")]


def _load(reference: str) -> Policy:
    from agent_runner.policy_file import load_policy

    return load_policy(reference).policy


@app.command("list")
def list_policies(as_json: Json = False) -> None:
    """List the policies that ship with pairlock."""
    import textwrap

    from policies.library import library_names, library_policy
    from policies.source import parse_policy

    sources = [source for name in library_names() if (source := library_policy(name)) is not None]
    policies = [parse_policy(source.text, origin=source.origin, find=library_policy) for source in sources]
    if as_json:
        print_json([{"name": p.name, "grant": p.grant.label, "description": p.description} for p in policies])
        return
    for policy in policies:
        typer.echo(f"{policy.name}  {policy.grant.label}")
        typer.echo(
            textwrap.fill(policy.description or "", WIDTH, initial_indent="  ", subsequent_indent="  ")
        )


@app.command("check")
def check(
    policies: Annotated[
        list[str],
        typer.Argument(metavar="POLICY", help="Files, folders of them, or names of the library."),
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail as well.")] = False,
    as_json: Json = False,
) -> None:
    """Check policies: their form, their expectations, what they leave open, and what two make possible."""
    from agent_runner.policy_checking import check_all, verdict_of

    checked, columns = check_all(policies, commands()), columns_of(sys.stdout)
    if as_json:
        print_json([one.as_plain() for one in checked])
    for one in checked:
        for line in () if as_json else one.lines():
            typer.echo("\n".join(wrapped(escape_line(line), columns=columns)))
        say(escape_line(f"{one.name}: {one.summary}"))
    code = verdict_of(checked, strict=strict)
    if code:
        raise typer.Exit(code)


@app.command("explain", context_settings={"ignore_unknown_options": True})
def explain(
    policy: Reference,
    action: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- ACTION", help="An action, as an agent would write it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say in plain words what an agent under a policy can and cannot do, or how one action is decided."""
    import shlex

    from policies.action_line import request_from_line
    from policies.decide import decide
    from policies.explain import explain as explained
    from policies.explain_decision import decision_as_plain, explain_decision
    from policies.request import Allowed, SessionFacts

    loaded = _load(policy)
    if not action:
        explanation = explained(loaded, commands())
        if as_json:
            print_json(explanation.as_plain())
        else:
            typer.echo(escape(explanation.text(width=WIDTH), keep="\n"))
        return
    request = request_from_line(shlex.join(action), commands())
    decision = decide(loaded, SessionFacts(grant=loaded.grant, headless=False), request)
    if as_json:
        print_json(decision_as_plain(request, decision))
    else:
        typer.echo(escape(explain_decision(request, decision, width=WIDTH), keep="\n"))
    if not isinstance(decision, Allowed):
        raise typer.Exit(Exit.DENIED)


@app.command("diff")
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="The policy as it was.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The policy as it would be.")],
    as_json: Json = False,
) -> None:
    """Show what B allows that A did not, with an action that shows it; exit 1 when B is wider."""
    from policies.diff import diff as compare

    found = compare(_load(first), _load(second), commands())
    if as_json:
        print_json(found.as_plain())
    for sign, changes in (("+", found.widenings), ("-", found.narrowings)) if not as_json else ():
        for change in changes:
            typer.echo(escape_line(f"{sign} {change.message}"))
            if change.witness:
                typer.echo(escape_line(f"    for example: {change.witness}"))
    if found.widenings:
        raise typer.Exit(Exit.FAILED)
    say("not wider")


@app.command("schema")
def schema(
    document: Annotated[str, typer.Argument(metavar="policy|ceiling", help="Which file.")] = "policy",
) -> None:
    """Print the JSON Schema of a policy file, for editors."""
    import json

    from agent_runner.errors import InvalidInputError
    from policies.schema import json_schema

    if document not in ("policy", "ceiling"):
        raise InvalidInputError(f"no schema of `{document[:40]}`", hint="`policy` or `ceiling`")
    typer.echo(json.dumps(json_schema("policy" if document == "policy" else "ceiling"), indent=2))


@app.command("trust")
def trust(file: Annotated[Path, typer.Argument(metavar="FILE", help="A policy inside a workspace.")]) -> None:
    """Trust a workspace's own policy as it stands; a changed one has to be trusted again."""
    from agent_runner import trust as record
    from agent_runner.policy_file import read_closure
    from agent_runner.state import state_folder

    closure = read_closure(file)
    state = state_folder()
    if not record.is_trusted(state, closure.digest) and (changed := record.changes(state, closure)):
        say("what changed since it was last trusted:")
        for line in changed.splitlines():
            say(escape_line(line))
    record.trust(state, closure)
    others = [source.origin for source in closure.texts[1:]]
    beside = f", with {', '.join(others)}" if others else ""
    grant = closure.policy.grant.label
    typer.echo(escape_line(f"trusted {file}{beside} as it stands: grant {grant}, {closure.digest[:16]}"))
