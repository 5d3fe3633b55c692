"""Choose the cases of `pairlock ci run`, and run them while somebody looks on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_runner.ci.all import Run, jobs_for, run_cases
from agent_runner.ci.cases import cases_of
from agent_runner.ci.filters import filtered
from agent_runner.ci.inputs import require_inputs
from agent_runner.ci.one import backend_of
from agent_runner.ci.placing import Bench, place_of
from agent_runner.ci.reading import read_tasks, tasks_meant
from agent_runner.ci.recording import read_recording, recording_path
from agent_runner.ci.result_tree import sweep_trees
from agent_runner.ci.telling import Teller
from agent_runner.ci.trust import require_trusted
from agent_runner.cli.ci_copies import make_folder, require_own_folder
from agent_runner.cli.ci_shown import onlooker_for_terminal
from agent_runner.cli.interrupting import interruptible
from agent_runner.cli.talk import Progress, say
from agent_runner.counted import counted
from agent_runner.errors import InvalidInputError
from agent_runner.state import state_folder

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.ci.cases import Shard
    from agent_runner.ci.outcome import TaskResult
    from agent_runner.ci.plan import Begun
    from agent_runner.ci.reading import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which cases are to run, and who answers in them."""

    references: tuple[str, ...]
    filters: tuple[str, ...]
    repeat: int
    shard: Shard | None
    record: Path | None
    replay: Path | None
    live: bool
    """Whether a model goes on where a replay departs."""

    @property
    def recordings(self) -> tuple[Path, ...]:
        """Return the folders of recordings."""
        return tuple(filter(None, (self.record, self.replay)))

    def __post_init__(self) -> None:
        """Refuse what would mean nothing.

        Raises:
            InvalidInputError: When one option needs another, or two exclude each other.
        """
        if self.live and self.replay is None:
            raise InvalidInputError("`--replay-until-different` needs `--replay`")
        if self.record is not None and self.replay is not None and not self.live:
            raise InvalidInputError(
                "`--record` would record what `--replay` reads", hint="`--replay-until-different` may differ"
            )


def chosen_cases(wanted: Wanted) -> tuple[list[Task], Path]:
    """Return the cases, after everything that can be found out before one runs, and the state folder.

    Raises:
        InvalidInputError: When something that is named is not to be had.
        RefusedError: When nobody trusted a task as it stands.
    """
    state = state_folder().resolve()
    if wanted.record is not None:
        require_own_folder(wanted.record)
    tasks = filtered(read_tasks(tasks_meant(wanted.references)), wanted.filters)
    for task in tasks:
        require_trusted(task, state=state)
    cases = cases_of(tasks, repeat=wanted.repeat)
    if wanted.shard is not None:
        cases = wanted.shard.part(cases)
    teller = Teller()
    bench = Bench(
        state=state, tell=say, progress=Progress(), watcher=teller, began=say, recordings=wanted.recordings
    )
    for case in cases:
        place_of(case, bench)
        require_inputs(case)
        if wanted.replay is None or wanted.live:
            asyncio.run(backend_of(case, tell=say).close())
        else:
            read_recording(recording_path(wanted.replay, case.name, 1), case.name)
    return cases, state


def run_chosen(  # noqa: PLR0913 - what a run is made of
    cases: list[Task], wanted: Wanted, begun: Begun, *, state: Path, jobs: int | None, fail_fast: bool
) -> tuple[TaskResult, ...]:
    """Run cases, and show what they do."""
    if wanted.record is not None:  # there at once: what appears later in a workspace pauses its sessions
        make_folder(wanted.record)
    sweep_trees(state)  # of a run whose processes were all killed at once
    at_once = jobs_for(cases, jobs)
    before = f", {len(begun.done)} of them done before" if begun.done else ""
    before += f", {begun.again} run again for lack of a sandbox or a model" if begun.again else ""
    say(f"{counted(len(cases), 'task')}{before}, {at_once} at once; results in {begun.kept.folder}")
    with onlooker_for_terminal(cases) as onlooker:
        run = Run(
            state=state,
            begun=begun,
            onlooker=onlooker,
            jobs=at_once,
            fail_fast=fail_fast,
            repeat=wanted.repeat,
            record=wanted.record.resolve() if wanted.record else None,
            replay=wanted.replay.resolve() if wanted.replay else None,
            live=wanted.live,
        )
        return interruptible(run_cases(cases, run))
