"""Say whether this machine can run sessions: `pairlock doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.exits import Exit

if TYPE_CHECKING:
    from agent_runner.doctor import Finding
    from sandbox.probing.probe import Result


def doctor(
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Try what each grant refuses and allows, under each runtime."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a list with one object for each finding or result.")
    ] = False,
) -> None:
    """Look at what a session needs, and say how to mend what is missing."""
    import asyncio

    work = _probe(as_json=as_json) if probe else _look(as_json=as_json)
    if asyncio.run(work):
        raise typer.Exit(Exit.SANDBOX)


async def _look(*, as_json: bool) -> bool:
    import dataclasses
    import json

    from agent_runner.doctor import findings
    from agent_runner.state import state_folder

    found: list[Finding] = []
    async for finding in findings(state_folder()):
        found.append(finding)
        if not as_json:
            _print_finding(finding)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(finding) for finding in found]))
    return any(finding.standing == "missing" for finding in found)


def _print_finding(finding: Finding) -> None:
    """Print a finding and its mend, folded to the terminal's width."""
    import shutil
    import textwrap

    from audit.escape import escape_line

    width = max(60, shutil.get_terminal_size().columns)
    mend = f"mend: {escape_line(finding.mend)}" if finding.mend else ""
    first = f"{finding.standing:<8}{finding.name:<16}"
    for start, text in ((first, escape_line(finding.text)), (" " * 24, mend)):
        for line in textwrap.wrap(text, width - 24, break_long_words=False, break_on_hyphens=False):
            typer.echo(f"{start}{line}")
            start = " " * 24  # noqa: PLW2901 - the lines that follow stand below the first


async def _probe(*, as_json: bool) -> bool:
    import json

    from agent_runner.cli.talk import Progress
    from agent_runner.probing import probe
    from agent_runner.state import state_folder

    results: list[Result] = []
    shown = 0
    async for result in probe(state_folder(), progress=Progress()):
        if results and _heading(results[-1]) != _heading(result) and not as_json:
            _print_results(results[shown:])
            shown = len(results)
        results.append(result)
    if as_json:
        typer.echo(json.dumps([result.as_json() for result in results]))
    else:
        _print_results(results[shown:])
        _print_account(results)
    return any(result.standing != "as expected" for result in results)


def _heading(result: Result) -> str:
    return f"grant {result.grant.label}, runtime {result.runtime}"


def _print_results(results: list[Result]) -> None:
    """Print what was tried under one grant: what should happen, what did, and what stopped it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from audit.escape import escape_line

    if not results:
        return
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="")
    for name, width in (("", 2), ("tried", 33), ("should be", 9), ("was", 9), ("stopped by", 12)):
        table.add_column(name, overflow="fold", min_width=width)
    for result in results:
        mark = "ok" if result.standing == "as expected" else result.standing.upper()
        words = (mark, result.probe.tried, result.expected, result.observed, result.stopped_by)
        table.add_row(*(Text(escape_line(word)) for word in words))
    typer.echo(f"\n{_heading(results[0])}\n")
    with console.capture() as printed:
        console.print(table)
        for reason in sorted({result.probe.own_kernel for result in results if result.expected == "either"}):
            console.print(Text(f"either: {reason}"))
    for line in printed.get().splitlines():
        typer.echo(line.rstrip())


def _print_account(results: list[Result]) -> None:
    wrong = [result for result in results if result.standing != "as expected"]
    typer.echo(f"\n{len(results)} results, {len(results) - len(wrong)} as expected, {len(wrong)} not")
    for result in wrong:
        typer.echo(f"  {result.probe.name} under {result.grant.label}, {result.runtime}: {result.standing}")
