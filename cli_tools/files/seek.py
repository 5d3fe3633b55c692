"""Declare `files search`: the pattern is compiled and run in the guest, where it can do no harm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cli_tools.command import Command, FileTouched, Outcome, Surroundings, WorkspacePath, command
from cli_tools.files import answer
from cli_tools.files.look import NEEDS
from cli_tools.neutral import field, restore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SECONDS: Final = 10.0
SHOWN_CHARACTERS: Final = 400


@command(
    "files search",
    needs=NEEDS,
    parameters=(
        click.Argument(["pattern"]),
        click.Argument(["path"], type=WorkspacePath("read"), default=".", required=False),
        click.Option(["--literal"], is_flag=True, help="The pattern is plain text, no regular expression."),
        click.Option(["--ignore-case"], is_flag=True, help="Small and capital letters are the same."),
        click.Option(
            ["--context"], type=click.IntRange(0, 50), default=0, help="Lines to show around each match."
        ),
        click.Option(
            ["--name"], multiple=True, help="Only files so named, as `*.py` or `src/*.py`; may be repeated."
        ),
        click.Option(["--all", "everything"], is_flag=True, help="Also what `.gitignore` files leave out."),
        click.Option(
            ["--limit"], type=click.IntRange(1, 2000), default=200, help="Matches after which to stop."
        ),
    ),
    examples=(
        "files search 'def test_' tests --name '*.py'",
        "files search --literal 'a[0]' src/app.py --context 2",
    ),
)
async def search_files(  # noqa: PLR0913 - one for each option
    surroundings: Surroundings,
    *,
    pattern: str,
    path: str,
    literal: bool,
    ignore_case: bool,
    context: int,
    name: tuple[str, ...],
    everything: bool,
    limit: int,
) -> Outcome:
    """Search files for a regular expression (Python's), line by line, but for ignored and binary ones."""
    reply = await surroundings.sandbox.call(
        "files.search",
        {
            **answer.named(path),
            "pattern": restore(pattern.encode()).decode("utf-8", "replace"),
            "literal": literal,
            "ignore_case": ignore_case,
            "context": context,
            "names": list(name),
            "everything": everything,
            "limit": limit,
            "seconds": SECONDS,
        },
    )
    entries = list(answer.entries(reply.body))
    lines = [_line(entry) for entry in entries]
    shown = dict.fromkeys(answer.raw(entry, "path").decode("utf-8", "surrogateescape") for entry in entries)
    touched = (
        FileTouched(path=path, access="searched"),
        *(FileTouched(path=name, access="read") for name in shown),
    )
    matches = answer.number(reply.result, "matches")
    note = _note(reply.result, matches, limit)
    text = "".join(f"{line}\n" for line in lines)
    return Outcome(exit_code=0 if matches else 1, text=text, note=note, files=touched)


def _line(entry: Mapping[str, object]) -> str:
    """Lay a line out as grep does: `path:12: text` for a match, `path-11- text` for its context."""
    mark = ":" if entry.get("match") else "-"
    content = answer.raw(entry, "text").removesuffix(b"\r").decode("utf-8", "surrogateescape")
    cut = " [cut]" if len(content) > SHOWN_CHARACTERS or entry.get("cut") else ""
    where = f"{field(answer.raw(entry, 'path'))}{mark}{answer.number(entry, 'line')}{mark}"
    return f"{where} {_laid_out(content[:SHOWN_CHARACTERS])}{cut}"


def _laid_out(content: str) -> str:
    return "\t".join(field(part) for part in content.split("\t"))


def _note(result: Mapping[str, object], matches: int, limit: int) -> str:
    return "; ".join([_ended(result, matches, limit), *_passed_over(result)])


def _ended(result: Mapping[str, object], matches: int, limit: int) -> str:
    files = answer.number(result, "files")
    match answer.text(result, "ended"):
        case "time":
            where = field(answer.raw(result, "path"))
            return f"stopped after {SECONDS:.0f} s at `{where}`; a simpler pattern or a smaller folder helps"
        case "limit":
            return f"stopped at {limit} matches; there may be more"
        case _:
            return f"{matches} matches in {files} files"


def _passed_over(result: Mapping[str, object]) -> Iterator[str]:
    """Say what was not searched, for no match there is no match at all to whoever reads the answer."""
    for name, what in _NOT_SEARCHED.items():
        if count := answer.number(result, name):
            yield f"not searched: {count} {what}"


_NOT_SEARCHED: Final = {
    "binary": "binary files",
    "unread": "files or folders that cannot be read, or lie too deep",
    "ignored": "ignored files or folders; `--all` searches them",
    "long_lines": "lines behind their first MiB",
}


COMMANDS: Final[tuple[Command, ...]] = (search_files,)
