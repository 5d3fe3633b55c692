"""Name the commands of the command line, where each lives, and what its line in `--help` says.

Only what is called is imported: the rest of the command line would cost more time than most commands take.
"""

# ruff: noqa: E501 - each command's line of help stands whole
from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import Collection


_WHOLE: Final = 1000
"""More characters than a command's sentence has."""


class PipeError(Exception):
    """Raised when a command met a broken pipe, whichever it was; its cause is the error itself."""


class Group(TyperGroup):
    """A group of commands. Its help has each command's sentence whole and folded; Typer's own cuts it off."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a line, or more, for each command."""
        found = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        rows = [(name, one.get_short_help_str(_WHOLE)) for name, one in found if not one.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Root(Group):
    """The command line itself. Typer takes every broken pipe for its own output, and ends with nothing said."""

    def invoke(self, ctx: Any) -> Any:
        """Carry a broken pipe past it.

        Raises:
            PipeError: When the command ended with one.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise PipeError from error


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command lives."""

    module: str
    """Below `agent_runner.cli`."""
    attribute: str
    help: str
    """Its line in `pairlock --help`; a test holds it to what the command says of itself."""
    is_group: bool = False


COMMANDS: Final[dict[str, Place]] = {
    "run": Place("run", "run", "Run one session: an agent, a policy, a sandbox, a ledger."),
    "exec": Place(
        "exec",
        "run_exec",
        "Run an agent that is not pairlock's own; its model calls go to the configured model.",
    ),
    "resume": Place(
        "resume", "resume", "Go on with a session that was interrupted, or ran out of its budget."
    ),
    "attach": Place(
        "runners",
        "attach",
        "Show a session as its own terminal does, until it ends. Ctrl-C leaves it running.",
    ),
    "stop": Place(
        "runners",
        "stop",
        "End a running session gracefully, and where it does not end kill its runner; it can be resumed.",
    ),
    "approve": Place(
        "runners",
        "approve",
        "Allow the action that waits for a person, once; without ACTION show what waits.",
    ),
    "deny": Place(
        "runners", "deny", "Refuse the action that waits for a person; without ACTION show what waits."
    ),
    "show": Place(
        "show",
        "show",
        "Show a session: its task, policy, budgets, last actions, the sessions below it, what waits for you.",
    ),
    "ps": Place(
        "sessions",
        "list_sessions",
        "Show running sessions, and those that can go on, have changes for a review or have kept outputs.",
    ),
    "diff": Place("review", "diff", "Show what a session changed, as a patch that `git apply` takes."),
    "apply": Place(
        "review_apply", "apply", "Write a session's changes to the workspace, after they were reviewed."
    ),
    "discard": Place(
        "review",
        "discard",
        "Throw away what a session changed, or left as outputs; the workspace stays as it is.",
    ),
    "outputs": Place(
        "review_outputs", "outputs", "Show what a session without `files` left in its outputs folder."
    ),
    "review": Place(
        "review_workspace",
        "review",
        "Show which sessions' unreviewed writes a workspace holds; `--endorse` takes the label off.",
    ),
    "init": Place(
        "start",
        "init",
        "Write a first policy for a folder, `pairlock.yaml`, and trust it; nothing that is there is replaced.",
    ),
    "doctor": Place("doctor", "doctor", "Look at what a session needs, and say how to mend what is missing."),
    "bench": Place(
        "bench",
        "bench",
        "Measure ledger, policy, command line, launch and turns here, each beside its floor, in one run.",
    ),
    "clean": Place(
        "clean",
        "clean",
        "Remove containers and stages of sessions that have ended; ledgers and unreviewed changes stay.",
    ),
    "policy": Place("policy", "app", "Write and check policies.", is_group=True),
    "ci": Place(
        "ci",
        "app",
        "Run agent tasks beside a project's tests, each in its own sandbox, and check what came of them.",
        is_group=True,
    ),
    "audit": Place(
        "audit", "app", "Read the ledger; everything that reads it verifies it on the way.", is_group=True
    ),
    "model": Place("model", "app", "The models that sessions may ask.", is_group=True),
    "image": Place("image", "app", "The images whose programs sessions with `exec` run.", is_group=True),
    "tools": Place("tools", "app", "Show and try the commands.", is_group=True),
}


def app_of(names: Collection[str] | None) -> typer.Typer:
    """Return the command line.

    Args:
        names: The commands that are there to be called; each other one has its line in the help alone. None
            makes all of them.
    """
    app = typer.Typer(
        name="pairlock",
        cls=Root,
        help="Launch AI agent sessions that hold at most two of three: files, network, code execution.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    for name, place in COMMANDS.items():
        if names is None or name in names:
            _add(app, name, place)
        else:
            app.command(name, help=place.help)(_named)
    return app


def _add(app: typer.Typer, name: str, place: Place) -> None:
    found = getattr(import_module(f"agent_runner.cli.{place.module}"), place.attribute)
    if name == "tools" and not any(command.name == "mcp" for command in found.registered_commands):
        found.command("mcp")(import_module("agent_runner.cli.mcp").mcp)
    if place.is_group:
        app.add_typer(found, name=name)
        return
    more: dict[str, Any] = {}
    if name == "exec":
        kind = import_module("agent_runner.cli.exec").ExecCommand
        more = {"cls": kind, "context_settings": {"allow_interspersed_args": False}}
    app.command(name, **more)(found)


def _named() -> None:
    """Stand for a command that is not called."""
