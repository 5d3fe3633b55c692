"""Declare what looks at files: `files list`, `files stat`, `files read`."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from cli_tools.command import Command, FileTouched, Outcome, Surroundings, WorkspacePath, command
from cli_tools.errors import ActionError
from cli_tools.files import answer
from cli_tools.neutral import field
from policies.capability import Capability

if TYPE_CHECKING:
    from collections.abc import Mapping

LIST_LIMIT: Final = 2000
READ_LIMIT_BYTES: Final = 512 * 1024
LINE_LIMIT: Final = 2000
LARGEST_LINE: Final = 2**40

NEEDS: Final = (Capability.FILES,)


class LineRange(click.ParamType[tuple[int, int]]):
    """Take `A-B` or `A`: lines counted from 1, both included."""

    name = "A-B"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return the first and the last line, or fail."""
        first, dash, last = str(value).partition("-")
        ends = (first, last) if dash else (first, first)
        if not all(end.isascii() and end.isdigit() and len(end) <= len(str(LARGEST_LINE)) for end in ends):
            self.fail(f"`{str(value)[:40]}` is no range of lines; expected, for example, `10-40`", param, ctx)
        start, end = int(ends[0]), int(ends[1])
        if not 1 <= start <= end <= LARGEST_LINE:
            self.fail(f"`{str(value)[:40]}` is no range from 1 on, the smaller first", param, ctx)
        return start, end


@command(
    "files list",
    needs=NEEDS,
    parameters=(
        click.Argument(["path"], type=WorkspacePath("read"), default=".", required=False),
        click.Option(["--depth"], type=click.IntRange(1, 64), default=2, help="How many folders deep."),
        click.Option(["--all", "everything"], is_flag=True, help="Also what `.gitignore` files leave out."),
    ),
    examples=("files list", "files list src --depth 3", "files list build --all"),
)
async def list_files(surroundings: Surroundings, *, path: str, depth: int, everything: bool) -> Outcome:
    """List the files and folders below a folder of the workspace, with sizes in bytes; ignored ones not."""
    reply = await surroundings.sandbox.call(
        "files.list",
        {**answer.named(path), "depth": depth, "limit": LIST_LIMIT, "ignore": not everything},
    )
    lines = [_entry(entry) for entry in answer.entries(reply.body)]
    ignored = answer.number(reply.result, "ignored")
    notes = [f"{ignored} ignored entries are left out; `--all` shows them"] if ignored else []
    if reply.result.get("truncated"):
        notes.append(f"cut after {LIST_LIMIT} entries; list a folder below, or with less depth")
    touched = (FileTouched(path=path, access="listed"),)
    text = "".join(f"{line}\n" for line in lines)
    return Outcome(exit_code=0, text=text, note="; ".join(notes), files=touched)


def _entry(entry: Mapping[str, object]) -> str:
    name = field(answer.raw(entry, "path"))
    match answer.text(entry, "kind"):
        case "folder":
            return f"{name}/"
        case "file":
            return f"{name}  {answer.number(entry, 'bytes')}"
        case "link":
            return f"{name} -> {field(answer.text(entry, 'target'))}"
        case kind:
            return f"{name}  ({field(kind)})"


@command(
    "files stat",
    needs=NEEDS,
    parameters=(click.Argument(["path"], type=WorkspacePath("read")),),
    examples=("files stat src/app.py",),
)
async def stat_file(surroundings: Surroundings, *, path: str) -> Outcome:
    """Say what is at a path: its kind, size in bytes, permissions and time of change; links not followed."""
    reply = await surroundings.sandbox.call("files.stat", answer.named(path))
    result = reply.result
    lines = [
        f"kind: {field(answer.text(result, 'kind'))}",
        f"bytes: {answer.number(result, 'bytes')}",
        f"mode: {stat.S_IMODE(answer.number(result, 'mode')):04o}",
        f"modified: {_time(result.get('modified'))}",
    ]
    touched = (FileTouched(path=path, access="listed"),)
    return Outcome(exit_code=0, text="".join(f"{line}\n" for line in lines), files=touched)


def _time(seconds: object) -> str:
    try:
        return datetime.fromtimestamp(float(str(seconds)), UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return "unknown"


@command(
    "files read",
    needs=NEEDS,
    parameters=(
        click.Argument(["path"], type=WorkspacePath("read")),
        click.Option(["--lines"], type=LineRange(), help="Only these lines, counted from 1, both included."),
    ),
    examples=("files read src/app.py", "files read src/app.py --lines 10-40"),
)
async def read_file(surroundings: Surroundings, *, path: str, lines: tuple[int, int] | None) -> Outcome:
    """Read a file of the workspace, its lines numbered."""
    first, last = lines or (1, LINE_LIMIT)
    last = min(last, first + LINE_LIMIT - 1)
    reply = await surroundings.sandbox.call(
        "files.lines",
        {**answer.named(path), "first": first, "last": last, "limit_bytes": READ_LIMIT_BYTES},
    )
    result = reply.result
    total = answer.number(result, "total_bytes")
    digest = answer.text(result, "sha256")
    touched = (FileTouched(path=path, access="read", sha256_after=digest),)
    if result.get("binary"):
        return Outcome(exit_code=0, note=f"a binary file of {total} bytes, not shown", files=touched)
    count = answer.number(result, "lines")
    if first > max(count, 1):
        raise ActionError("range", f"the file has {count} lines")
    content, notes = _line_ends(reply.body)
    shown = content.split(b"\n")[: content.count(b"\n") + (not content.endswith(b"\n"))] if content else []
    numbered = b"".join(b"%6d  %s\n" % (at, line) for at, line in enumerate(shown, start=first))
    notes += _rest(first, len(shown), count, cut=bool(result.get("cut")), total=total)
    return Outcome(exit_code=0, output=numbered, note="; ".join(notes), files=touched)


def _line_ends(content: bytes) -> tuple[bytes, list[str]]:
    """Take the CR of each line off, where all of them have one, and say so."""
    if content.count(b"\r\n") != content.count(b"\n") or b"\r" not in content:
        return content, []
    return content.replace(b"\r\n", b"\n"), ["lines end with CR LF; `files patch` keeps that"]


def _rest(first: int, shown: int, count: int, *, cut: bool, total: int) -> list[str]:
    """Say what of a file was not shown, and how to see it."""
    last = first + shown - 1
    if cut:
        more = f"cut in line {last} of {count} after {READ_LIMIT_BYTES} bytes of {total}"
        return [more + (f"; go on with `--lines {last}-{count}`" if last > first else "")]
    left = count - last
    return [f"{left} more lines; read them with `--lines {last + 1}-{count}`"] if left > 0 else []


COMMANDS: Final[tuple[Command, ...]] = (list_files, stat_file, read_file)
