"""Run one case of a task: what each process of `pairlock ci` does. No command of the command line.

It ends in order when its stdin does: whoever started it keeps that open for as long as it lives.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agent_runner.ci.cases import cases_of
from agent_runner.ci.handing import outputs_path, read_order, workspace_path, write_result
from agent_runner.ci.keeping import OUTPUTS, Kept
from agent_runner.ci.made_workspace import with_workspace
from agent_runner.ci.one import backend_of, failed, run_task
from agent_runner.ci.outcome import INTERRUPTED
from agent_runner.ci.placing import Bench
from agent_runner.ci.reading import read_task
from agent_runner.ci.recording import as_text, read_recording, recorded, recording_path
from agent_runner.ci.replay import RecordedModel
from agent_runner.ci.task_outputs import Copies, remove_outputs
from agent_runner.ci.telling import Teller
from agent_runner.cli.exits import explained
from agent_runner.cli.interrupting import interruptible_by
from agent_runner.errors import RefusedError
from agent_runner.program_search import search_outside
from audit.state import write_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runner.backends.backend import Backend
    from agent_runner.ci.handing import Order
    from agent_runner.ci.outcome import TaskResult
    from agent_runner.ci.reading import Task


def main() -> None:
    """Run the case that the order names, and leave what came of it as a file."""
    order = read_order(Path(sys.argv[1]))
    try:
        case = _case(order)
    except Exception as error:  # noqa: BLE001 - there is no case that could fail: its code and words stand for it
        code, why = explained(error)
        print("; ".join(why.splitlines()), file=sys.stderr)
        sys.exit(code)
    interruptible_by(lambda signalled: _work(case, order, signalled))


async def _work(case: Task, order: Order, signalled: Callable[[], None]) -> None:
    _end_with_stdin(signalled)
    teller = Teller()
    result = await _result(case, order, teller)
    result = replace(result, attempts=order.attempt)
    keeping = asyncio.ensure_future(asyncio.to_thread(_kept, case, order, result))
    while not keeping.done():
        with suppress(asyncio.CancelledError):  # what was done is kept, whoever is in a hurry
            await asyncio.shield(keeping)
    write_result(Path(order.results), keeping.result())


def _end_with_stdin(signalled: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def readable() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            signalled()

    loop.add_reader(0, readable)


def _case(order: Order) -> Task:
    """Return the case as it was when it was found to be trusted."""
    task = read_task(Path(order.file))
    case = next((each for each in cases_of([task], repeat=order.repeat) if each.name == order.case), None)
    if case is None or task.closure.digest != order.digest:
        raise RefusedError(
            f"task `{order.file}`, or what it names, changed while it waited", hint="start the run again"
        )
    return case


async def _result(case: Task, order: Order, teller: Teller) -> TaskResult:
    results = Path(order.results)
    outputs = Copies(
        made=outputs_path(results, order.case),
        kept=results / order.case / OUTPUTS,
        state=Path(order.state),
    )
    remove_outputs(outputs.made, outputs.state)  # what a killed process left
    bench = Bench(
        state=Path(order.state),
        tell=teller.line,
        progress=teller,
        watcher=teller,
        began=teller.session,
        outputs=outputs,
        recordings=tuple(Path(folder) for folder in (order.record, order.replay) if folder),
    )
    try:
        made = await with_workspace(case, workspace_path(Path(order.results), order.case), state=bench.state)
        if made.workspace is not None:
            search_outside(made.workspace.resolve())
        backend = _backend(case, order, teller)
        return await run_task(made, bench, backend, session=order.session)
    except asyncio.CancelledError:
        return failed(case, INTERRUPTED, "interrupted")
    except Exception as error:  # noqa: BLE001 - the one place where a task's error ends
        return failed(case, *explained(error))


def _backend(case: Task, order: Order, teller: Teller) -> Backend:
    if not order.replay:
        return backend_of(case, tell=teller.line)
    path = recording_path(Path(order.replay), case.name, order.attempt)
    if order.live and not path.exists():
        teller.line("nothing is recorded: a model is asked from the start")
        return backend_of(case, tell=teller.line)

    def live() -> Backend:
        teller.line("departed from its recording: a model goes on")
        return backend_of(case, tell=teller.line)

    recording = read_recording(path, case.name)
    return RecordedModel(recording, session=order.session, live=live if order.live else None)


def _kept(case: Task, order: Order, result: TaskResult) -> TaskResult:
    """Keep what came of a case; what cannot be kept fails it."""
    state = Path(order.state)
    try:
        if order.record and result.session:
            recording = recorded(state, result.session, case, model=result.model)
            folder = Path(order.record)
            folder.mkdir(parents=True, exist_ok=True)
            path = recording_path(folder, case.name, order.attempt)
            write_private(path, as_text(recording).encode("ascii"))  # replaces a link, never follows it
        Kept(Path(order.results)).task(result, state)
    except Exception as error:  # noqa: BLE001 - as above
        code, why = explained(error)
        return replace(result, code=result.code or code, reason=f"{result.reason}; not kept: {why}")
    return result
