"""Show and try the commands: `pairlock tools list|show|call|check`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.commands import Group
from agent_runner.cli.exits import Exit, explain
from agent_runner.cli.place import place_for
from agent_runner.cli.talk import Progress, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runner.place import Place
    from agent_runner.tools import Called
    from agent_runner.tools_check import Checked, Declared
    from cli_tools.command import Command
    from cli_tools.offer import Standing

app = typer.Typer(cls=Group, help="Show and try the commands.", no_args_is_help=True, rich_markup_mode=None)
PolicyOption = Annotated[
    str | None, typer.Option("--policy", "-p", help="A policy file, or a name of the library.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_tools(policy: PolicyOption = None, as_json: JsonOption = False) -> None:
    """List what a policy offers, with capabilities and sinks; without a policy, every command there is."""
    from agent_runner.cli.folding import tell
    from audit.escape import escape_line
    from cli_tools.reference import needs_of, sinks_of

    found = _offered(policy)
    if as_json:
        typer.echo(json.dumps([_described(command, standing) for command, standing in found], indent=2))
        return
    names = max((len(command.name) for command, _ in found), default=0)
    needs = max((len(needs_of(command)) for command, _ in found), default=0)
    for command, standing in found:
        marks = f"  sinks: {sinks_of(command)}" if command.sinks else ""
        asks = "  a person is asked each time" if standing == "asks" else ""
        line = f"{command.name:<{names}}  {needs_of(command):<{needs}}  {command.summary}{marks}{asks}"
        tell(escape_line(line), indent=names + needs + 4)


@app.command("show")
def show_tool(
    words: Annotated[list[str], typer.Argument(metavar="COMMAND", help="Its words, as in `files read`.")],
    as_json: JsonOption = False,
) -> None:
    """Show one command: usage, arguments, examples; as JSON also the schema that a model is given."""
    from agent_runner.commands import known_commands
    from agent_runner.errors import InvalidInputError
    from cli_tools.reference import section
    from policies.wording import nearest

    name, known = " ".join(" ".join(words).split()), known_commands()
    command = next((command for command in known.commands if command.name == name), None)
    if command is None:
        first = name.partition(" ")[0]
        group = ", ".join(f"`{command.name}`" for command in known.commands if command.path[0] == first)
        near = nearest(name, [command.name for command in known.commands])
        hint = f"did you mean `{near}`?" if near else "`pairlock tools list` names them"
        if group:
            hint = f"the commands of `{first}`: {group}"
        raise InvalidInputError(f"no command `{name}`", hint=hint)
    typer.echo(
        json.dumps(_described(command, None), indent=2)
        if as_json
        else section(command).strip("\n").removeprefix("## ")
    )


@app.command("call", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def call_tool(
    words: Annotated[
        list[str],
        typer.Argument(metavar="COMMAND", help="The action, behind all options: `files read src/app.py`."),
    ],
    policy: PolicyOption = None,
    workspace: Annotated[
        Path | None,
        typer.Option("--workspace", "-w", help="The folder; the current one if the policy has files."),
    ] = None,
    body: Annotated[
        Path | None, typer.Option("--body", help="A file with the content beside the line; `-` for stdin.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Carry out one action in a sandbox of its own, through the same gate and ledger as an agent's."""
    from agent_runner.account import changes_line
    from agent_runner.cli.interrupting import interruptible
    from agent_runner.tools import call

    called = interruptible(call(words, _content(body), _place(words, policy, workspace)))
    typer.echo(_as_json(called) if as_json else called.seen.text if called.seen else "")
    if called.result.error is not None:
        say(f"pairlock: {explain(called.result.error)}")
    elif called.result.plan is not None:
        changes = changes_line(called.result)
        say(f"session {called.result.session}{changes and f'; {changes}'}")
    raise typer.Exit(_code(called))


def _place(words: list[str], policy: str | None, workspace: Path | None) -> Place:
    """Return where an action is carried out; an option behind it is the action's, which is easily missed."""
    from agent_runner.errors import InvalidInputError

    try:
        return place_for(policy, workspace)
    except InvalidInputError as error:
        if policy is None and {"--policy", "-p"} & set(words):
            hint = "options stand before the action: `pairlock tools call --policy P files list`"
            raise InvalidInputError(error.message, hint=hint) from error
        raise


@app.command("check")
def check_tools(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files of declared commands.")],
    as_json: JsonOption = False,
) -> None:
    """Run the examples of declared commands: each line's argv, and what comes of it in a sandbox."""
    from agent_runner.cli.interrupting import interruptible
    from agent_runner.tools_check import read_declared
    from audit.escape import escape_line

    def tell(checked: Checked) -> None:
        why = f": {checked.why}" if checked.why else ""
        typer.echo(escape_line(f"{checked.standing:<8}{checked.line}{why}"))

    each = (lambda _: None) if as_json else tell
    read = [read_declared(path) for path in files]  # a file that is not valid costs no sandbox
    found = [checked for declared in read for checked in interruptible(_checked(declared, each))]
    if as_json:
        typer.echo(json.dumps([asdict(checked) for checked in found], indent=2))
    failed = sum(checked.standing == "failed" for checked in found)
    say(f"{len(found) - failed} of {len(found)} examples are as the file says")
    raise typer.Exit(Exit.FAILED if failed else Exit.DONE)


async def _checked(declared: Declared, each: Callable[[Checked], None]) -> list[Checked]:
    from agent_runner.state import state_folder
    from agent_runner.tools_check import checked

    found: list[Checked] = []
    async for one in checked(declared, state=state_folder(), progress=Progress()):
        each(one)
        found.append(one)
    return found


def _offered(policy: str | None) -> list[tuple[Command, Standing | None]]:
    from agent_runner.commands import known_commands
    from agent_runner.policy_file import load_policy
    from cli_tools.offer import offers

    catalogue = known_commands()
    if policy is None:
        return [(command, None) for command in catalogue.commands]
    return [(offer.command, offer.standing) for offer in offers(catalogue, load_policy(policy).policy)]


def _described(command: Command, standing: Standing | None) -> dict[str, object]:
    from cli_tools.action import usage
    from cli_tools.schema import tools
    from policies.capability import in_order

    (tool,) = tools([command])
    described: dict[str, object] = {
        "command": command.name,
        "summary": command.summary,
        "usage": usage(command),
        "needs": list(in_order(command.needs)),
        "sinks": dict(command.sinks),
        "runs": command.runs,
        "examples": list(command.examples),
        "tool": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    }
    return described if standing is None else {**described, "standing": standing}


def _content(body: Path | None) -> bytes | None:
    from agent_runner.errors import InvalidInputError
    from cli_tools.command import MAXIMUM_BODY_BYTES

    if body is None:
        return None
    try:
        # What is longer is refused, and held nowhere.
        if str(body) == "-":
            return sys.stdin.buffer.read(MAXIMUM_BODY_BYTES + 1)
        with body.open("rb") as stream:
            return stream.read(MAXIMUM_BODY_BYTES + 1)
    except OSError as error:
        raise InvalidInputError(
            f"body `{body}` cannot be read: {error.strerror}", hint="a file, or `-` for stdin"
        ) from error


def _as_json(called: Called) -> str:
    seen = called.seen
    account: dict[str, object] = {"session": called.result.session, "status": called.result.status}
    if seen is not None:
        reasons = [{"code": r.code, "message": r.message, "hint": r.hint} for r in seen.reasons]
        account |= {"kind": seen.kind, "text": seen.text, "exit_code": seen.exit_code, "reasons": reasons}
    return json.dumps(account, indent=2)


def _code(called: Called) -> int:
    """Return 0 for an action that was done, 3 for one that was denied, 1 for one that failed."""
    if called.seen is None or called.result.status not in ("done", "failed"):
        return called.result.exit_code or Exit.FAILED
    if called.seen.kind == "denied":
        return Exit.DENIED
    return Exit.DONE if called.seen.kind == "done" and not called.seen.exit_code else Exit.FAILED
