"""Set two runs of tasks side by side: `pairlock ci compare A B`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent_runner.cli.exits import Exit


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="The `--output` folder of one run.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="That of another, later one.")],
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write a page with plots there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as one JSON object.")] = False,
) -> None:
    """Show what passes, costs and takes otherwise in B than in A; exit 1 when a task is worse, or gone."""
    import json

    from agent_runner.ci.compare_told import compare_as_plain, compare_lines, compare_page
    from agent_runner.ci.comparing import compared, is_worse
    from agent_runner.cli.ci_copies import write_copy

    rows = compared(first, second)
    if page is not None:
        write_copy(page, compare_page(rows, before=str(first), after=str(second)))
    if as_json:
        typer.echo(json.dumps(compare_as_plain(rows), indent=2).replace("##", "#\\u0023"))
    else:
        for line in compare_lines(rows):
            typer.echo(line)
    if is_worse(rows):
        raise typer.Exit(Exit.FAILED)
