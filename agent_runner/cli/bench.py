"""Measure this machine: `pairlock bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent_runner.cli.talk import Progress, say

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.bench.row import Row


def bench(
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as one JSON array.")] = False,
    without_engine: Annotated[bool, typer.Option("--no-engine", help="Only what needs no engine.")] = False,
) -> None:
    """Measure ledger, policy, command line, launch and turns here, each beside its floor, in one run."""
    import json

    from agent_runner.bench.row import table
    from agent_runner.cli.interrupting import interruptible

    rows = interruptible(_measured(engine=not without_engine))
    typer.echo(json.dumps([row.as_json() for row in rows]) if as_json else "\n".join(table(rows)))


async def _measured(*, engine: bool) -> list[Row]:
    import tempfile
    from pathlib import Path

    from agent_runner.bench.command_line import command_line_row
    from agent_runner.bench.host import ledger_rows, policy_rows
    from agent_runner.cli.exits import explain
    from agent_runner.state import state_folder
    from audit.state import prepare
    from sandbox.errors import SandboxError

    home = state_folder()
    prepare(home)
    say("measuring the ledger, the policy and the command line ...")
    # Beside the state folder, so that it is the ledger's own disk that is measured.
    with tempfile.TemporaryDirectory(prefix="pairlock-bench-", dir=home.parent) as name:
        folder = Path(name)
        rows = [*await ledger_rows(folder), *policy_rows(), command_line_row()]
        if engine:
            try:
                rows += await _of_the_engine(folder, home)
            except SandboxError as error:
                say(f"pairlock: launch and turns were not measured: {explain(error)}")
    return rows


async def _of_the_engine(folder: Path, home: Path) -> list[Row]:
    from agent_runner.bench.launch import forget, launch_rows
    from agent_runner.bench.turns import turn_rows

    say("measuring launches and turns, in containers of their own ...")
    progress = Progress()
    rows = await launch_rows(home, progress)
    try:
        return [*rows, *await turn_rows(folder, folder / "state", progress)]
    finally:
        await forget(folder / "state")
