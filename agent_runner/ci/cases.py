"""Make the cases of tasks, one for each combination of a matrix and each repetition; and cut out a shard."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent_runner.ci.reading import MOST_TASKS, model_meant
from agent_runner.errors import InvalidInputError
from agent_runner.policy_file import resolved

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent_runner.ci.reading import Task

_SHARD: Final = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})")
_ATTEMPT: Final = re.compile(r"\.attempt-[0-9]+(\.|$)")
_LONGEST: Final = 40


def cases_of(tasks: Sequence[Task], *, repeat: int = 1) -> list[Task]:
    """Return the cases of tasks, in order.

    Args:
        tasks: As they were read.
        repeat: How often each is run.

    Raises:
        InvalidInputError: When two cases would be called the same, or there are too many.
    """
    count = sum(_count(task) for task in tasks) * repeat
    if count > MOST_TASKS:  # before any of them is made
        raise InvalidInputError(f"{count} cases; expected at most {MOST_TASKS}")
    made = [
        replace(case, repetition=number if repeat > 1 else 0)
        for task in tasks
        for case in _variants(task)
        for number in range(1, repeat + 1)
    ]
    names = [case.name for case in made]
    if twice := next((name for name, times in Counter(names).items() if times > 1), None):
        raise InvalidInputError(
            f"two cases of a matrix would be called `{twice}`", hint="name models and policies apart"
        )
    if taken := next((name for name in names if _ATTEMPT.search(name)), None):
        raise InvalidInputError(
            f"a case would be called `{taken}`, as a kept attempt is",
            hint="name the model or policy otherwise",
        )
    return made


def _count(task: Task) -> int:
    """Return how many combinations a task's matrix has."""
    matrix = task.file.matrix
    return max(1, len(matrix.models)) * len(task.policies) * max(1, len(matrix.seeds))


def _variants(task: Task) -> Iterator[Task]:
    """Yield a task for each combination of its matrix; itself where there is none."""
    matrix, folder = task.file.matrix, resolved(Path(task.origin)).parent
    models = tuple(enumerate(matrix.models)) or ((0, task.file.model),)
    for (place, model), (name, policy), seed in product(models, task.policies, matrix.seeds or (None,)):
        words = [
            _word(model or "") if matrix.models else "",
            _word(name) if matrix.policies else "",
            f"seed-{int(seed)}" if seed is not None else "",
        ]
        yield replace(
            task,
            variant=".".join(filter(None, words)),
            policy=policy,
            check_policy=policy if _checks_itself(task) else task.check_policy,
            model=model_meant(model, folder),
            model_at=("matrix", "models", place) if matrix.models else ("model",),
            seed=None if seed is None else int(seed),
        )


def _checks_itself(task: Task) -> bool:
    return bool(task.file.checks.commands) and task.file.checks.policy is None


def _word(named: str) -> str:
    """Return a name as part of a folder's: letters, digits, `-` and `_`, without a file's path and ending."""
    last = named.rstrip("/").rpartition("/")[2]
    for ending in (".yaml", ".yml"):
        last = last.removesuffix(ending)
    return re.sub(r"[^A-Za-z0-9_-]+", "-", last).strip("-")[:_LONGEST] or "x"


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of the cases of a run that several machines share."""

    number: int
    """Counted from 1."""
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `i/n`.

        Raises:
            InvalidInputError: When it is none.
        """
        found = _SHARD.fullmatch(text)
        if found is None or int(found[1]) > int(found[2]):
            raise InvalidInputError(f"`{text}` is no shard; expected `i/n`", hint="as in `1/4` to `4/4`")
        return cls(int(found[1]), int(found[2]))

    def part(self, cases: Sequence[Task]) -> list[Task]:
        """Return the cases of this shard, in order: each case is in one, and none has two more than another.

        Which one depends on the names of the cases alone: not on their order, nor on the machine.
        """
        ranked = sorted(cases, key=lambda case: hashlib.sha256(case.name.encode()).digest())
        mine = {case.name for case in ranked[self.number - 1 :: self.of]}
        return [case for case in cases if case.name in mine]
