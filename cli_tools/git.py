"""Declare `git`: status, diff, log, show, blame, read by the guest itself; no program runs.

What the policy hides in the workspace is not shown from the repository's history either.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

import click

from cli_tools.command import Command, Outcome, Surroundings, WorkspacePath, command
from cli_tools.errors import ActionError
from cli_tools.files import answer
from cli_tools.files.look import LineRange
from cli_tools.neutral import field, neutralise
from policies.capability import Capability

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.guest.objects import Object

    Entry = Mapping[str, object]

_NEEDS: Final = (Capability.FILES,)
_SECONDS: Final = 20.0


class Revision(click.ParamType[str]):
    """Take a commit, branch or tag, with `~2` or `^` behind it; `A..B` where two are meant."""

    name = "revision"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the revision, or fail; what it names is looked up in the repository."""
        text = str(value)
        if ":" in text:
            self.fail(f"`{text}` names a file; use `git show REVISION --file PATH`", param, ctx)
        if not text or text.startswith("-") or not text.isascii() or not text.isprintable() or " " in text:
            self.fail(f"`{text}` is no revision; expected, for example, `HEAD~2`", param, ctx)
        return text


_PATHS: Final = click.Option(
    ["--path", "paths"],
    type=WorkspacePath("read"),
    multiple=True,
    help="Only below this path; may be repeated.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    entries: tuple[Entry, ...]
    note: str


async def _asked(
    surroundings: Surroundings, operation: str, arguments: Object, *, narrower: str = "--path"
) -> _Found:
    """Ask the guest, and leave out what the policy hides; `narrower` is the option that asks for less."""
    if any(
        "\udc80" <= character <= "\udcff" for path in _texts(arguments, "paths", "file") for character in path
    ):
        raise ActionError("path", "a path that is not UTF-8 cannot be looked up in a repository")
    reply = await surroundings.sandbox.call(
        operation, {**arguments, "seconds": _SECONDS, "timeout_seconds": _SECONDS + 10}
    )
    entries = tuple(answer.entries(reply.body))
    kept = tuple(entry for entry in entries if "path" not in entry or not surroundings.hidden(_path(entry)))
    ended = answer.text(reply.result, "ended")
    notes = [f"{len(entries) - len(kept)} hidden paths are left out"] if len(kept) < len(entries) else []
    if ended == "time":
        notes.append(f"stopped after {_SECONDS:.0f} s, and not whole; ask for less, as with `{narrower}`")
    if ended == "limit":
        notes.append(f"cut, because it is too long; ask for less, as with `{narrower}`")
    return _Found(entries=kept, note="; ".join(notes))


def _texts(arguments: Object, *names: str) -> list[str]:
    lists = (arguments.get(name) for name in names)
    return [str(member) for found in lists if isinstance(found, list) for member in found]


def _path(entry: Entry) -> str:
    return answer.raw(entry, "path").decode("utf-8", "surrogateescape")


def _one(value: str | None) -> list[str]:
    return [value] if value else []


def _outcome(found: _Found, write: Callable[[Entry], str]) -> Outcome:
    return Outcome(exit_code=0, text="".join(write(entry) for entry in found.entries), note=found.note)


@command(
    "git status",
    needs=_NEEDS,
    parameters=(_PATHS,),
    examples=("git status", "git status --path src"),
)
async def status(surroundings: Surroundings, *, paths: tuple[str, ...]) -> Outcome:
    """Show the branch and what differs: `XY path`, X staged, Y in the workspace, `??` untracked."""
    return _outcome(await _asked(surroundings, "git.status", {"paths": list(paths)}), _status_line)


def _status_line(entry: Entry) -> str:
    if answer.text(entry, "kind") == "branch":
        head = field(answer.raw(entry, "text")).removeprefix("ref: refs/heads/")
        return f"## {head}\n"
    return f"{field(answer.text(entry, 'letters'))} {field(answer.raw(entry, 'path'))}\n"


@command(
    "git diff",
    needs=_NEEDS,
    parameters=(
        click.Argument(["revision"], type=Revision(), required=False),
        click.Argument(["to"], type=Revision(), required=False),
        click.Option(["--staged"], is_flag=True, help="The index against HEAD, not the files against it."),
        _PATHS,
    ),
    examples=("git diff", "git diff --staged --path src", "git diff main HEAD"),
)
async def diff(
    surroundings: Surroundings, *, revision: str | None, to: str | None, staged: bool, paths: tuple[str, ...]
) -> Outcome:
    """Show changes: of the files since they were staged, of the index, or from a revision to another."""
    arguments: Object = {"revision": [*_one(revision)], "to": [*_one(to)], "staged": staged}
    return _outcome(await _asked(surroundings, "git.diff", {**arguments, "paths": list(paths)}), _change)


def _change(entry: Entry) -> str:
    """Write a change as git does, its names and lines neutralised."""
    name, letter = field(answer.raw(entry, "path")), answer.text(entry, "letter")
    head = f"diff --git a/{name} b/{name}\n"
    if modes := answer.text(entry, "modes"):
        head += f"mode {field(modes)}\n"
    if why := answer.text(entry, "why_not"):
        return f"{head}{field(letter)} {name}: {field(why)}, not shown\n"
    before = "/dev/null" if letter == "A" else f"a/{name}"
    after = "/dev/null" if letter == "D" else f"b/{name}"
    hunks = neutralise(answer.raw(entry, "text"))
    return f"{head}--- {before}\n+++ {after}\n{hunks}" if hunks else head


@command(
    "git log",
    needs=_NEEDS,
    parameters=(
        click.Argument(["revision"], type=Revision(), required=False),
        click.Option(["--limit"], type=click.IntRange(1, 1000), default=20, help="Commits at most."),
        click.Option(["--oneline"], is_flag=True, help="One line for each commit."),
        _PATHS,
    ),
    examples=("git log", "git log v1.0..HEAD --oneline --path src"),
)
async def log(
    surroundings: Surroundings, *, revision: str | None, limit: int, oneline: bool, paths: tuple[str, ...]
) -> Outcome:
    """Show commits, the newest first, of a revision or of a range `A..B`."""
    arguments: Object = {"revision": [*_one(revision)], "limit": limit, "paths": list(paths)}
    found = await _asked(surroundings, "git.log", arguments)
    return _outcome(found, _short_commit if oneline else _commit)


def _commit(entry: Entry) -> str:
    author, made = field(answer.text(entry, "author")), _time(entry)
    message = neutralise(answer.raw(entry, "text").rstrip(b"\n"))
    indented = "".join(f"    {line}\n" for line in message.split("\n"))
    return f"commit {field(answer.text(entry, 'commit'))}\nAuthor: {author}\nDate:   {made}\n\n{indented}\n"


def _short_commit(entry: Entry) -> str:
    first = answer.raw(entry, "text").split(b"\n", 1)[0]
    return f"{field(answer.text(entry, 'commit')[:10])} {field(first)}\n"


def _time(entry: Entry) -> str:
    """Return a commit's time in its own zone; what no clock can show is `unknown`."""
    seconds, offset = entry.get("seconds"), entry.get("offset", 0)
    if not isinstance(seconds, int) or not isinstance(offset, int):
        return "unknown"
    try:
        return datetime.fromtimestamp(seconds, timezone(timedelta(seconds=offset))).isoformat(" ")
    except (ValueError, OverflowError, OSError):
        return "unknown"


@command(
    "git show",
    needs=_NEEDS,
    parameters=(
        click.Argument(["revision"], type=Revision(), default="HEAD", required=False),
        click.Option(["--file"], type=WorkspacePath("read"), help="This file as it was, not the changes."),
        _PATHS,
    ),
    examples=("git show HEAD~1", "git show v1.0 --file src/app.py"),
)
async def show(
    surroundings: Surroundings, *, revision: str, file: str | None, paths: tuple[str, ...]
) -> Outcome:
    """Show a commit and its changes; with `--file`, a file as it was in that commit."""
    arguments: Object = {"revision": [revision], "file": [*_one(file)], "paths": list(paths)}
    return _outcome(await _asked(surroundings, "git.show", arguments), _shown)


def _shown(entry: Entry) -> str:
    match answer.text(entry, "kind"):
        case "commit":
            return _commit(entry)
        case "content" | "folder":
            return neutralise(answer.raw(entry, "text"))
        case _:
            return _change(entry)


@command(
    "git blame",
    needs=_NEEDS,
    parameters=(
        click.Argument(["path"], type=WorkspacePath("read")),
        click.Argument(["revision"], type=Revision(), required=False),
        click.Option(["--lines"], type=LineRange(), help="Only these lines, counted from 1, both included."),
    ),
    examples=("git blame src/app.py", "git blame src/app.py HEAD~3 --lines 10-20"),
)
async def blame(
    surroundings: Surroundings, *, path: str, revision: str | None, lines: tuple[int, int] | None
) -> Outcome:
    """Show each line of a committed file with the commit, author and day it came with."""
    arguments: Object = {"revision": [*_one(revision)], "paths": [path]}
    if lines:
        arguments = {**arguments, "first": lines[0], "last": lines[1]}
    return _outcome(await _asked(surroundings, "git.blame", arguments, narrower="--lines"), _blamed)


def _blamed(entry: Entry) -> str:
    seconds = entry.get("seconds")
    day = _time({"seconds": seconds}).partition(" ")[0]
    who = f"{field(answer.text(entry, 'commit'))} {field(answer.text(entry, 'author'))} {day}"
    line = neutralise(answer.raw(entry, "text").rstrip(b"\r\n"))
    return f"{who} {answer.number(entry, 'line'):5} {line}\n"


COMMANDS: Final[tuple[Command, ...]] = (status, diff, log, show, blame)
