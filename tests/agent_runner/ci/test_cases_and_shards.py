"""A matrix, its repetitions and a shard: which cases there are, what each runs with, and who runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent_runner.ci.cases import Shard, cases_of
from agent_runner.ci.reading import Task, read_task
from agent_runner.ci.trust import require_trusted
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.trust import trust
from tests.agent_runner.ci.task_stand import POLICY, TASK, Project

if TYPE_CHECKING:
    from pathlib import Path

MATRIX = """\
matrix:
  models: [scripted:../script.yaml, large]
  policies: [../policies/mend.yaml, ../policies/strict.yaml]
  seeds: [1, 2]
"""


@pytest.fixture
def strict(project: Project) -> Path:
    return project.write("policies/strict.yaml", POLICY.replace("name: mend", "name: strict"))


@pytest.mark.usefixtures("strict")
def test_a_matrix_makes_one_case_of_each_combination(project: Project) -> None:
    checks = "checks: {commands: [{run: [sh]}]}\n"

    cases = cases_of([read_task(project.task(MATRIX + checks))])

    assert [case.name for case in cases] == [
        f"mend.{model}.{policy}.seed-{seed}"
        for model in ("script", "large")
        for policy in ("mend", "strict")
        for seed in (1, 2)
    ]
    last = cases[-1]
    assert (last.model, last.policy.name, last.seed, last.repetition) == ("large", "strict", 2, 0)
    assert last.check_policy is not None
    assert last.check_policy.name == "strict"
    assert (cases[0].model or "").endswith("/script.yaml")


@pytest.mark.usefixtures("strict")
def test_too_many_cases_are_counted_before_any_is_made(project: Project) -> None:
    """A change of the base's tasks multiplies by one line; equal names are not even looked for."""
    task = read_task(project.task(MATRIX))

    with pytest.raises(InvalidInputError, match=r"^800000 cases; expected at most 1000"):
        cases_of([task] * 1000, repeat=100)


def test_a_task_without_a_matrix_is_its_one_case_and_repetitions_are_numbered(project: Project) -> None:
    task = read_task(project.task())

    assert cases_of([task]) == [task]
    assert [case.name for case in cases_of([task], repeat=2)] == ["mend.run-1", "mend.run-2"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("matrix: {models: [small]}\n", "`model` `scripted:../script.yaml` is none of its matrix"),
        ("matrix: {policies: [fix-tests]}\n", "`policy` `../policies/mend.yaml` is none of its matrix"),
    ],
)
def test_a_value_that_its_matrix_would_ignore_is_refused(project: Project, more: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_task(project.task(more))

    assert said in refused.value.message


def test_cases_of_one_name_are_refused(project: Project) -> None:
    task = read_task(project.task("matrix: {models: [a/x, b/x]}\n", base=TASK.replace("model:", "# model:")))

    with pytest.raises(InvalidInputError) as refused:
        cases_of([task])

    assert refused.value.message == "two cases of a matrix would be called `mend.x`"


def test_a_case_that_would_lie_where_an_attempt_is_kept_is_refused(project: Project) -> None:
    base = TASK.replace("model:", "# model:")
    task = read_task(project.task("matrix: {models: [attempt-1, b]}\n", base=base))

    with pytest.raises(InvalidInputError) as refused:
        cases_of([task])

    assert refused.value.message == "a case would be called `mend.attempt-1`, as a kept attempt is"


def test_every_policy_of_a_matrix_is_held_to_sense_and_to_trust(
    project: Project, strict: Path, tmp_path: Path
) -> None:
    """A second policy is no way around what the first is refused for."""
    path, state = project.task(MATRIX), tmp_path / "state"
    trust(state, read_task(path).closure)
    require_trusted(read_task(path), state=state)

    strict.write_text(strict.read_text().replace("[sh, python3]", "any"))
    with pytest.raises(RefusedError, match="changed since it was trusted"):
        require_trusted(read_task(path), state=state)
    strict.write_text("version: 1\nname: strict\ngrant: [files]\nfiles: {access: direct}\n")
    with pytest.raises(InvalidInputError, match="access: direct"):
        read_task(path)


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 20])
def test_every_case_is_in_exactly_one_shard_and_shards_are_balanced(project: Project, shards: int) -> None:
    cases = cases_of([read_task(project.task())], repeat=16)

    parts = [Shard(number, shards).part(cases) for number in range(1, shards + 1)]

    assert sorted(case.name for part in parts for case in part) == sorted(case.name for case in cases)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_shard_is_the_same_whatever_the_order(project: Project) -> None:
    cases = cases_of([read_task(project.task())], repeat=9)

    def names(given: list[Task]) -> set[str]:
        return {case.name for case in Shard.parse("2/4").part(given)}

    assert names(cases) == names(cases[::-1])


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", " 1/2", "1/99999"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is no shard"):
        Shard.parse(text)
