"""Declare `python` and `shell`: program text as content, for an interpreter of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cli_tools.command import Body, Command, Outcome, Surroundings, command
from cli_tools.errors import UsageError
from cli_tools.run.environment import variables
from cli_tools.run.program import CWD, ENVIRONMENT, NEEDS, TIMEOUT, outcome
from cli_tools.run.reach import reaching

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_TEXT_BYTES: Final = 100_000
"""Linux takes no word of an argv that is longer than 131,072 bytes (execve(2), MAX_ARG_STRLEN)."""


def _parameters(what: str) -> tuple[click.Parameter, ...]:
    code = click.Option(["--code"], type=Body(needed=True), help=what)
    return (code, CWD, TIMEOUT, ENVIRONMENT, click.Argument(["arguments"], nargs=-1, required=False))


def _text(surroundings: Surroundings) -> str:
    try:
        text = (surroundings.body or b"").decode()
    except UnicodeDecodeError as error:
        raise UsageError("usage", "program text has to be UTF-8") from error
    if "\0" in text or len(text.encode()) > LONGEST_TEXT_BYTES:
        wrong = f"program text has at most {LONGEST_TEXT_BYTES} bytes and no NUL"
        raise UsageError("too-long", wrong, hint="write it to a file, and run that")
    return text


async def _run(
    surroundings: Surroundings,
    argv: tuple[str, ...],
    *,
    cwd: str,
    timeout: int | None,  # noqa: ASYNC109 - the guest ends the program
    env: tuple[str, ...],
) -> Outcome:
    with reaching(surroundings) as reach:
        reply = await surroundings.sandbox.spawn(
            argv,
            cwd=cwd,
            timeout_seconds=float(timeout) if timeout else None,
            environment={**variables(env), **surroundings.variables},
        )
    return reach.told(outcome(reply))


def _python_argv(parameters: Mapping[str, object]) -> tuple[str, ...]:
    return ("python3", "-c", "(the content)", *_words(parameters))


def _shell_argv(parameters: Mapping[str, object]) -> tuple[str, ...]:
    return ("sh", "-c", "(the content)", "sh", *_words(parameters))


def _words(parameters: Mapping[str, object]) -> tuple[str, ...]:
    words = parameters.get("arguments")
    return tuple(map(str, words)) if isinstance(words, tuple | list) else ()


@command(
    "python",
    needs=NEEDS,
    parameters=_parameters("The program's text."),
    fixed_program="python3",
    starts=_python_argv,
    examples=("python --code 'print(1)'",),
)
async def run_python(
    surroundings: Surroundings,
    *,
    arguments: tuple[str, ...],
    cwd: str,
    timeout: int | None,  # noqa: ASYNC109 - as above
    env: tuple[str, ...],
) -> Outcome:
    """Run Python text with the image's `python3`; the text is content, and needs no quoting."""
    argv = ("python3", "-c", _text(surroundings), *arguments)
    return await _run(surroundings, argv, cwd=cwd, timeout=timeout, env=env)


@command(
    "shell",
    needs=NEEDS,
    parameters=_parameters("The script."),
    fixed_program="sh",
    starts=_shell_argv,
    examples=("shell --code 'ls | wc -l'",),
)
async def run_shell(
    surroundings: Surroundings,
    *,
    arguments: tuple[str, ...],
    cwd: str,
    timeout: int | None,  # noqa: ASYNC109 - as above
    env: tuple[str, ...],
) -> Outcome:
    """Run a script with the image's `sh`, inside the sandbox; the arguments are its `$1` and on."""
    argv = ("sh", "-c", _text(surroundings), "sh", *arguments)
    return await _run(surroundings, argv, cwd=cwd, timeout=timeout, env=env)


COMMANDS: Final[tuple[Command, ...]] = (run_python, run_shell)
