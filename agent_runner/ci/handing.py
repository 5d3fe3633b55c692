"""Hand orders to the processes that run tasks, and what came of them back: files that are written whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from agent_runner.ci.outcome import TaskResult
from agent_runner.errors import InvalidInputError
from audit.state import write_private

FOLDER: Final = ".run"
"""Of a results folder: what a run needs to go on with what it did not come to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the process of one task is told."""

    file: str
    """The task file, as it was named."""
    case: str
    """Which of its cases."""
    digest: str
    """Of everything that it rests on, as it was trusted: what else is found then is not run."""
    repeat: int
    """How many repetitions the cases of the file were made with."""
    attempt: int
    """Counted from 1."""
    session: str
    """The id of the agent's session: whoever cleans up after this process has to know it."""
    state: str
    """The state folder, absolute."""
    results: str
    """The results folder, absolute."""
    record: str = ""
    """Where the model's side is recorded; empty for nowhere."""
    replay: str = ""
    """Where recordings are; empty to ask a model."""
    live: bool = False
    """Whether a model goes on where a replay departs from its recording."""


_ORDER: Final = TypeAdapter(Order)
_RESULT: Final = TypeAdapter(TaskResult)


def order_path(results: Path, case: str) -> Path:
    """Return where the order of a case lies."""
    return results / FOLDER / f"{case}.order.json"


def result_path(results: Path, case: str) -> Path:
    """Return where what came of a case lies, once anything did."""
    return results / FOLDER / f"{case}.result.json"


def outputs_path(results: Path, case: str) -> Path:
    """Return where copies of a case's outputs wait until its folder is made."""
    return results / FOLDER / f"{case}.outputs"


def workspace_path(results: Path, case: str) -> Path:
    """Return where the workspace of a case is made that its task describes; its stage needs it later."""
    return results / FOLDER / f"{case}.workspace"


def write_order(order: Order) -> Path:
    """Write an order, and return where."""
    path = order_path(Path(order.results), order.case)
    write_private(path, _ORDER.dump_json(order))
    return path


def read_order(path: Path) -> Order:
    """Read an order."""
    return _ORDER.validate_json(path.read_bytes())


def write_result(results: Path, result: TaskResult) -> None:
    """Write down what came of a case: whoever finds the file finds all of it."""
    path = result_path(results, result.name)
    write_private(path, json.dumps(_RESULT.dump_python(result, mode="json"), indent=1).encode() + b"\n")


def read_result(results: Path, case: str) -> TaskResult | None:
    """Return what came of a case; None while nothing did.

    Raises:
        InvalidInputError: When the file is none of ours, or another case's.
    """
    path = result_path(results, case)
    try:  # as Python reads JSON: names of files may hold bytes that are no text, as lone surrogates
        result = _RESULT.validate_python(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"`{path}` is no result of a task", hint="name another folder") from error
    if result.name != case:
        raise InvalidInputError(f"`{path}` is the result of another case", hint="name another folder")
    return result
