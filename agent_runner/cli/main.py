"""Start the command line: find what is called, run it, and let every error end in one place."""

from __future__ import annotations

import os
import select
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.commands import COMMANDS, PipeError, app_of
from agent_runner.cli.descriptors import drop_stdout, fill_standard, of_stdout, spell_unwritable
from agent_runner.cli.exits import Exit, leave
from agent_runner.program_search import search_elsewhere

if TYPE_CHECKING:
    from collections.abc import Sequence

    app: typer.Typer
    """The whole command line, made when it is asked for."""


def __getattr__(name: str) -> object:
    """Make the whole command line when it is asked for: for its page, and for whoever builds on it."""
    if name != "app":
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return _app(None)


def _app(names: Sequence[str] | None) -> typer.Typer:
    app = app_of(names)
    app.callback()(_options)
    return app


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    if wanted:
        from agent_runner.package import pairlock_version

        typer.echo(pairlock_version())
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _called(words: Sequence[str]) -> Sequence[str] | None:
    """Return the command that is called; all of them where a shell asks what there is."""
    if any(name.endswith("_COMPLETE") for name in os.environ):
        return None
    first = next((word for word in words if not word.startswith("-")), "")
    return [first] if first in COMMANDS else []


def _is_unread(descriptor: int) -> bool:
    """Tell whether a pipe or socket has nobody at its other end."""
    looked = select.poll()
    looked.register(descriptor, 0)  # errors alone
    return bool(looked.poll(0))


def main() -> None:
    """Run the command line and leave with its exit code."""
    fill_standard()
    spell_unwritable()
    search_elsewhere()
    code = _run()
    try:
        sys.stdout.flush()
    except OSError as error:  # the last of what was printed; said once, by whoever failed first
        code = code or leave(of_stdout(error))
        drop_stdout()
    sys.exit(code)


def _run() -> int | str | None:
    """Run what is called, and return what to leave with; every error ends here."""
    try:
        _app(_called(sys.argv[1:]))()
    except SystemExit as ended:
        return ended.code
    except PipeError as error:
        if not _is_unread(sys.stdout.fileno()):  # another pipe than stdout: that has to be said
            return leave(error.__cause__ or error)
        drop_stdout()  # whoever read our output has gone
        return Exit.FAILED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the one place where every error ends
        return leave(of_stdout(error) if isinstance(error, OSError) else error)
    return 0
