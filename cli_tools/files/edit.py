"""Declare `files patch`: a unified diff, or exactly this text for that. Both are applied in the guest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cli_tools.command import Body, Command, Outcome, Surroundings, WorkspacePath, command
from cli_tools.errors import UsageError
from cli_tools.files import answer
from cli_tools.files.look import NEEDS
from cli_tools.neutral import field, restore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.guest.objects import Object


SECONDS: Final = 120.0
"""A file of a gigabyte is read twice and written once."""


@command(
    "files patch",
    needs=NEEDS,
    parameters=(
        click.Argument(["path"], type=WorkspacePath("write")),
        click.Option(
            ["--diff"], type=Body(), help="A unified diff of this one file; lines must fit exactly."
        ),
        click.Option(["--old"], help="Instead of a diff: the text to replace, which must be there once."),
        click.Option(["--new"], help="The text that comes instead of the old; empty removes it."),
        click.Option(["--every"], is_flag=True, help="Replace the old text wherever it is."),
    ),
    examples=(
        "files patch src/app.py --old 'retries = 3' --new 'retries = 5'",
        "files patch src/app.py --diff '@@ -1 +1 @@\n-one\n+two'",
    ),
)
async def patch_file(
    surroundings: Surroundings, *, path: str, old: str | None, new: str | None, every: bool
) -> Outcome:
    """Change part of a file: by a unified diff, or by an exact old text and its replacement."""
    form, edit = _edit(surroundings.body, old, new, every=every)
    arguments: Object = {**answer.named(path), **form, "timeout_seconds": SECONDS}
    reply = await surroundings.sandbox.call("files.patch", arguments, body=edit)
    text, note = _told(path, reply.result)
    return Outcome(exit_code=0, text=text, note=note, files=(answer.written(path, reply.result),))


def _edit(diff: bytes | None, old: str | None, new: str | None, *, every: bool) -> tuple[Object, bytes]:
    if diff is not None and old is None and new is None and not every:
        return {"form": "diff"}, restore(diff)
    if diff is not None or old is None or new is None:
        raise UsageError("usage", "give either `--diff`, or both `--old` and `--new`")
    before = restore(old.encode())
    return {"form": "replace", "old_bytes": len(before), "every": every}, before + restore(new.encode())


def _told(path: str, result: Mapping[str, object]) -> tuple[str, str]:
    lines = answer.numbers(result, "lines")
    places = ", ".join(map(str, lines))
    if "hunks" not in result:
        return f"replaced {answer.number(result, 'replaced')} in {field(path)}, at line {places}\n", ""
    asked = answer.numbers(result, "asked")
    moved = [f"hunk {n} fits at line {at}, not {said}" for n, (at, said) in _moved(lines, asked)]
    return f"applied {answer.number(result, 'hunks')} hunks to {field(path)}\n", "; ".join(moved)


def _moved(lines: tuple[int, ...], asked: tuple[int, ...]) -> list[tuple[int, tuple[int, int]]]:
    """Return the hunks that were not where they said they were; `0` and `1` both name the beginning."""
    pairs = enumerate(zip(lines, asked, strict=False), start=1)
    return [(number, (at, said)) for number, (at, said) in pairs if abs(at - said) > 1]


COMMANDS: Final[tuple[Command, ...]] = (patch_file,)
