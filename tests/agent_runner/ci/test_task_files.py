"""What a task file may say, what is refused and where, and that nothing of it counts before it is trusted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from agent_runner.ci.placing import Bench, check_policy_in, place_of
from agent_runner.ci.reading import parse_task, read_task, read_tasks, tasks_meant
from agent_runner.ci.task import Checks, TaskFile
from agent_runner.ci.telling import Teller
from agent_runner.ci.trust import require_trusted
from agent_runner.cli.exits import explain
from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.trust import trust
from policies.errors import PolicyFileError
from tests.agent_runner.ci.task_stand import POLICY, TASK, Project, pairlock

if TYPE_CHECKING:
    from pathlib import Path

SENDS = """\
version: 1
name: sends
grant: [files, network]
network: {allow: [{host: a.example, methods: [GET]}]}
commands: {allow: ["files *", http get]}
"""


def test_a_task_is_read_with_what_it_names(project: Project) -> None:
    path = project.task('checks: {commands: [{run: [sh, -c, "exit 0"]}], unchanged: ["tests/**"]}\n')

    task = read_task(path)

    assert (task.name, task.policy.name, task.check_policy) == ("mend", "mend", task.policy)
    assert task.workspace is not None
    assert task.workspace.resolve() == project.workspace
    assert task.model == f"scripted:{project.folder}/tasks/../script.yaml"


@pytest.mark.parametrize(
    ("more", "line", "said"),
    [
        ("promt: x\n", 7, "key `promt` is not known; hint: did you mean `prompt`?"),
        ("setup: [sh, -c, id]\n", 7, "key `setup` is not known"),
        ("checks: {host_commands: [id]}\n", 7, "key `host_commands` is not known in `checks`"),
        ("matrix: {model: [a]}\n", 7, "key `model` is not known in `matrix`"),
        ("matrix: {models: [a, a]}\n", 7, "the list names something twice"),
        ("matrix: {seeds: [2147483648]}\n", 7, "a seed is at most 2147483647"),
        ("retries: 6\n", 7, "a task is tried again at most 5 times"),
        (
            "checks: {comands: []}\n",
            7,
            "key `comands` is not known in `checks`; hint: did you mean `commands`?",
        ),
        ("checks:\n  commands:\n    - run: pytest\n", 9, "expected a list; hint: write `[pytest]`"),
        ("checks: {commands: [{run: []}]}\n", 7, "the command is empty"),
        ("checks: {commands: [{run: [-x]}]}\n", 7, "`-x` is no program"),
        ("checks: {commands: [{run: [a], timeout: 2h}]}\n", 7, "a check may take 1s to 1h, not `2h`"),
        ("checks: {files: [{path: ../x}]}\n", 7, "`../x` is no path of a workspace"),
        ("checks: {files: [{path: /etc/passwd}]}\n", 7, "`/etc/passwd` is no path of a workspace"),
        ("checks: {max_denials: -1}\n", 7, "`-1`"),
        ("tags: [A b]\n", 7, "`A b` is not a name"),
        ("name: twice\n", 7, "`name`"),
    ],
)
def test_a_fault_is_told_with_its_place_and_its_mend(more: str, line: int, said: str) -> None:
    """B61 among them: no key of a task names a command for the host; those of checks run in a sandbox."""
    with pytest.raises(PolicyFileError) as refused:
        parse_task(TASK + more, origin="t.yaml")

    problem = refused.value.problems[0]
    assert problem.at.line == line
    assert said in str(problem)


@pytest.mark.parametrize(
    ("change", "more", "said"),
    [
        (("workspace: ../project\n", ""), "", "names no `workspace`"),
        (
            ("../policies/mend.yaml", "../policies/none.yaml"),
            "",
            "would be ignored: its policy holds no `files`",
        ),
        (("", ""), "checks: {policy: fix-tests}\n", "`checks.policy` would be ignored"),
        (("../policies/mend.yaml", "../policies/direct.yaml"), "", "has `access: direct`"),
        (("../policies/mend.yaml", "../policies/read.yaml"), 'checks: {unchanged: ["*"]}\n', "stages none"),
    ],
)
def test_what_could_only_mislead_is_refused(
    project: Project, change: tuple[str, str], more: str, said: str
) -> None:
    project.write("policies/none.yaml", "version: 1\nname: none\ngrant: []\n")
    for access in ("direct", "read"):
        text = f"version: 1\nname: {access}\ngrant: [files]\nfiles: {{access: {access}}}\n"
        project.write(f"policies/{access}.yaml", text)
    path = project.task(more, base=TASK.replace(*change))

    with pytest.raises(InvalidInputError) as refused:
        read_task(path)

    assert said in refused.value.message


@pytest.mark.parametrize(
    ("changed", "to", "place", "said"),
    [
        ("policy: ../policies/mend.yaml", "policy: ../policies/none.yaml", "3:9", "does not exist"),
        ("policy: ../policies/mend.yaml", "policy: fix-test", "3:9", "did you mean `fix-tests`?"),
        ("policy: ../policies/mend.yaml", "policy: ../policies", "3:9", "is not a regular file"),
        ("policy: ../policies/mend.yaml", 'policy: "a\\0b"', "3:9", "holds a NUL"),
        ("workspace: ../project", "workspace: ../absent", "4:12", "does not exist"),
        ("workspace: ../project", "workspace: ../script.yaml", "4:12", "is a file, expected a folder"),
        ("workspace: ../project", "workspace: /etc", "4:12", "`/etc`"),
        ("workspace: ../project", "workspace: ../way", "4:12", "is reached through a symlink"),
        ("workspace: ../project", "inputs: [../project/app.txt, ../project/b]", "4:30", "no such file"),
        ("workspace: ../project", "inputs: [../way/app.txt]", "4:10", "is reached through a symlink"),
        ("model: scripted:../script.yaml", "model: scripted:../none.yaml", "6:8", "no such file"),
        ("model: scripted:../script.yaml", "matrix: {models: [small]}", "6:19", "no model `small`"),
        ("prompt: mend it", "prompt: mend it\nchecks: {policy: nowhere}", "6:18", "no policy `nowhere`"),
        (
            "prompt: mend it",
            "prompt: mend it\nchecks: {commands: [{run: [sh]}, {run: [curl]}]}",
            "6:34",
            "program `curl` is not allowed",
        ),
    ],
)
def test_what_a_task_names_and_is_not_to_be_had_is_told_with_its_place(  # noqa: PLR0913, PLR0917 - its cases
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    changed: str, to: str, place: str, said: str,
) -> None:  # fmt: skip
    """Before anything runs, with the file's name as it was given, its line and its column."""
    monkeypatch.setenv("PAIRLOCK_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    project.script('["finish --status done ok"]')
    (project.folder / "way").symlink_to("project")
    path = project.task(base=TASK.replace(changed, to))
    pairlock("trust", path)
    capsys.readouterr()

    told = pairlock(path)

    assert told.exit_code in {2, 3}
    first, _, rest = capsys.readouterr().err.partition(": ")[2].partition(": ")
    assert first == f"{path}:{place}"
    assert said in rest


def test_command_checks_after_a_session_with_network_make_three_and_declared_ones_do_not(
    project: Project,
) -> None:
    """Nobody runs with exec, on the user's files, what came from the network."""
    project.write("policies/sends.yaml", SENDS)
    base = TASK.replace("mend.yaml", "sends.yaml")
    commands = project.task("checks: {policy: fix-tests, commands: [{run: [pytest]}]}\n", base=base)

    with pytest.raises(RefusedError) as refused:
        read_task(commands)
    declared = read_task(project.task("checks: {no_egress: true, files: [{path: a}]}\n", base=base))

    assert "command checks with `files+exec` after `files+network` make three" in refused.value.message
    assert declared.check_policy is None


def test_a_check_that_its_policy_would_deny_is_refused_before_anything_runs(project: Project) -> None:
    with pytest.raises(RefusedError) as refused:
        read_task(project.task("checks: {commands: [{run: [curl, x]}]}\n"))

    assert "the check `run --timeout 600 curl x` is not allowed by `mend`" in refused.value.message


def test_two_tasks_of_one_name_are_refused(project: Project) -> None:
    one = project.task()
    two = project.write("tasks/two.yaml", TASK)

    with pytest.raises(InvalidInputError) as refused:
        read_tasks([one, two])

    assert refused.value.message == f"`{one}` and `{two}` are both called `mend`"


def test_a_folder_means_its_tasks_and_an_empty_one_is_told(project: Project, tmp_path: Path) -> None:
    one, two = project.task(), project.task(name="two")
    (tmp_path / "empty").mkdir()

    assert tasks_meant([str(project.folder / "tasks")]) == [one, two]
    with pytest.raises(InvalidInputError) as refused:
        tasks_meant([str(tmp_path / "empty")])
    assert "holds no task" in refused.value.message


@pytest.mark.parametrize(("file", "old", "new"), [
    ("tasks/mend.yaml", "mend it", "carry it off"),
    ("policies/mend.yaml", "[sh, python3]", "any"),
    ("policies/checking.yaml", "[sh, python3]", "any"),
])  # fmt: skip
def test_a_task_counts_only_as_it_was_trusted_with_the_policies_that_it_names(
    project: Project, tmp_path: Path, file: str, old: str, new: str
) -> None:
    project.write("policies/checking.yaml", POLICY)
    checks = "checks: {policy: ../policies/checking.yaml, commands: [{run: [sh]}]}\n"
    path, state = project.task(checks), tmp_path / "state"

    with pytest.raises(RefusedError) as unknown:
        require_trusted(read_task(path), state=state)
    trust(state, read_task(path).closure)
    require_trusted(read_task(path), state=state)
    changed = project.folder / file
    changed.write_text(changed.read_text().replace(old, new))
    with pytest.raises(RefusedError) as refused:
        require_trusted(read_task(path), state=state)

    assert "is not trusted as it stands" in unknown.value.message
    assert "changed since it was trusted" in refused.value.message
    assert new in explain(refused.value)


def test_the_schema_names_every_key_and_no_other() -> None:
    schema = json.loads(pairlock("schema").stdout)
    blocks = {"TaskFile": schema, **schema["$defs"]}

    assert schema["required"] == ["version", "name", "policy", "prompt"]
    assert set(schema["properties"]) == set(TaskFile.model_fields)
    assert set(blocks["Checks"]["properties"]) == set(Checks.model_fields)
    assert {block["additionalProperties"] for block in blocks.values()} == {False}


def test_init_writes_a_task_that_is_read_and_trusted_and_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAIRLOCK_STATE", str(tmp_path / "state"))
    target = tmp_path / "tasks" / "First Task.yaml"

    first, again = pairlock("init", target), pairlock("init", target)

    assert (first.exit_code, again.exit_code) == (0, 2)
    task = read_task(target)
    assert (task.name, task.policy.name) == ("first-task", "fix-tests")
    require_trusted(task, state=tmp_path / "state")


def test_trusting_on_the_command_line_shows_what_changed(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAIRLOCK_STATE", str(tmp_path / "state"))
    path = project.task()

    first = pairlock("trust", path)
    path.write_text(path.read_text().replace("mend it", "mend it all"))
    second = pairlock("trust", path.parent)

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "grant files+exec" in first.stdout
    assert "+prompt: mend it all" in second.stderr
    require_trusted(read_task(path), state=tmp_path / "state")


def test_a_task_in_its_own_workspace_is_hidden_from_its_agent_and_its_checks(
    project: Project, tmp_path: Path
) -> None:
    """What is checked is not to be learnt by who is checked; other files of the folder are seen."""
    path = project.task("checks: {commands: [{run: [sh]}]}\n")
    path.write_text(path.read_text().replace("workspace: ../project", "workspace: .."))
    task, teller = read_task(path), Teller()
    state = tmp_path.parent / f"{tmp_path.name}-state"
    bench = Bench(state=state, tell=teller.line, progress=teller, watcher=teller, began=teller.session)

    shown = [place_of(task, bench).loaded.policy, check_policy_in(task, tmp_path / "tree")]

    for policy in shown:
        assert policy is not None
        assert policy.files is not None
        hidden = policy.files.hide
        names = ["tasks/mend.yaml", "policies/mend.yaml", "tasks/other.yaml", "project/app.txt"]
        assert [any(glob.matches(name) for glob in hidden) for name in names] == [True, True, False, False]
