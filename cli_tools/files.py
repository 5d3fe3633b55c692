"""Declare `files`: list, read and write in the workspace. They act in the guest and need `files`."""

from __future__ import annotations

import json
from typing import Final

import click

from cli_tools.command import Body, Command, FileTouched, Outcome, Surroundings, WorkspacePath, command
from cli_tools.errors import ActionError, UsageError
from policies.capability import Capability

LIST_LIMIT: Final = 2000
READ_LIMIT_BYTES: Final = 512 * 1024
LINE_LIMIT: Final = 2000

_NEEDS: Final = (Capability.FILES,)


@command(
    "files list",
    needs=_NEEDS,
    parameters=(
        click.Argument(["path"], type=WorkspacePath("read"), default=".", required=False),
        click.Option(["--depth"], type=click.IntRange(1, 64), default=2, help="How many folders deep."),
    ),
    examples=("files list", "files list src --depth 3"),
)
async def list_files(surroundings: Surroundings, *, path: str, depth: int) -> Outcome:
    """List the files and folders below a folder of the workspace, with their sizes in bytes."""
    reply = await surroundings.sandbox.call("files.list", {"path": path, "depth": depth, "limit": LIST_LIMIT})
    lines = [_entry(json.loads(line)) for line in reply.body.splitlines()]
    cut = bool(reply.result.get("truncated"))
    note = f"cut after {LIST_LIMIT} entries; list a folder below, or with less depth" if cut else ""
    return Outcome(exit_code=0, output="".join(f"{line}\n" for line in lines).encode(), note=note)


def _entry(entry: dict[str, object]) -> str:
    name = str(entry["path"])
    match entry["kind"]:
        case "folder":
            return f"{name}/"
        case "file":
            return f"{name}  {entry['bytes']}"
        case kind:
            return f"{name}  ({kind})"


@command(
    "files read",
    needs=_NEEDS,
    parameters=(
        click.Argument(["path"], type=WorkspacePath("read")),
        click.Option(["--lines"], metavar="A-B", help="Only these lines, counted from 1, both included."),
    ),
    examples=("files read src/app.py", "files read src/app.py --lines 10-40"),
)
async def read_file(surroundings: Surroundings, *, path: str, lines: str | None) -> Outcome:
    """Read a file of the workspace, its lines numbered."""
    first, last = _line_range(lines)
    reply = await surroundings.sandbox.call(
        "files.read", {"path": path, "offset": 0, "limit_bytes": READ_LIMIT_BYTES}
    )
    total = int(str(reply.result["total_bytes"]))
    digest = str(reply.result.get("sha256") or "")
    touched = (FileTouched(path=path, access="read", sha256_after=digest),)
    if b"\0" in reply.body[:8192]:
        return Outcome(exit_code=0, note=f"a binary file of {total} bytes, not shown", files=touched)
    text, note = _numbered(reply.body, first, last)
    if total > len(reply.body):
        note = f"only the first {len(reply.body)} of {total} bytes were read{'; ' + note if note else ''}"
    return Outcome(exit_code=0, output=text, note=note, files=touched)


def _line_range(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, LINE_LIMIT
    first, dash, last = text.partition("-")
    if not first.isascii() or not first.isdigit() or (dash and not (last.isascii() and last.isdigit())):
        raise UsageError("usage", f"`--lines {text[:40]}` is not a range", hint="use `--lines 10-40`")
    start, end = int(first), int(last) if dash else int(first)
    if start < 1 or end < start:
        raise UsageError("usage", f"`--lines {text[:40]}` is not a range from 1 on, the smaller first")
    return start, min(end, start + LINE_LIMIT - 1)


def _numbered(content: bytes, first: int, last: int) -> tuple[bytes, str]:
    lines = content.splitlines(keepends=True)
    shown = lines[first - 1 : last]
    numbered = [b"%6d  %s" % (number, line) for number, line in enumerate(shown, start=first)]
    left = len(lines) - min(last, len(lines))
    note = f"{left} more lines; read them with `--lines {last + 1}-{len(lines)}`" if left else ""
    if not shown and lines:
        raise ActionError("range", f"the file has {len(lines)} lines")
    return b"".join(numbered), note


@command(
    "files write",
    needs=_NEEDS,
    parameters=(
        click.Argument(["path"], type=WorkspacePath("write")),
        click.Option(["--content"], type=Body(), help="The whole new content."),
    ),
    examples=("files write notes.txt --content 'one line'",),
)
async def write_file(surroundings: Surroundings, *, path: str) -> Outcome:
    """Write a file of the workspace: its whole content; folders are made as needed."""
    if surroundings.body is None:
        raise UsageError("usage", "`files write` needs content", hint="give `--content`, or a body")
    reply = await surroundings.sandbox.call(
        "files.write", {"path": path, "create_parents": True}, body=surroundings.body
    )
    result = reply.result
    verb = "created" if result.get("created") else "replaced"
    touched = FileTouched(
        path=path,
        access="write",
        sha256_before=str(result.get("sha256_before") or ""),
        sha256_after=str(result.get("sha256_after") or ""),
    )
    text = f"{verb} {path}, {len(surroundings.body)} bytes\n"
    return Outcome(exit_code=0, output=text.encode(), files=(touched,))


COMMANDS: Final[tuple[Command, ...]] = (list_files, read_file, write_file)
