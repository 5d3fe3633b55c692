"""The action and the template: tasks, policies and configuration are the base branch's, never a change's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.agent_runner.ci.ci_files import ACTION, GITLAB, REPOSITORY, Checkout, checkout_in, loaded, steps
from tests.agent_runner.ci.task_stand import POLICY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TASK = """\
version: 1
name: {name}
policy: ../policies/mend.yaml
workspace: ../project
prompt: mend it
model: scripted:script.yaml
checks: {{max_denials: 0, files: [{{path: app.txt, contains: mended}}]}}
"""
SCRIPT = """\
version: 1
turns:
  - actions: ["files write app.txt --content mended", "run env"]
  - actions: ["finish --status done ok"]
"""
SECRET = "sk-a-value-that-must-not-leak"  # noqa: S105 - a canary


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Return a repository whose base has two tasks and a policy, on a branch of its own."""
    made = checkout_in(tmp_path)
    made.write("policies/mend.yaml", POLICY.replace("[sh, python3]", "[env]"))
    made.write("project/app.txt", "broken\n")
    made.write("tasks/script.yaml.txt", "not a task\n")
    for name in ("one", "two"):
        made.write(f"tasks/{name}.yaml", TASK.format(name=name).replace("script.yaml", "../script"))
    made.write("script", SCRIPT)
    made.write("operator.yaml", "version: 1\nmodels: {}\n")
    made.commit()
    made.git("branch", "base")
    return made


def trusted(checkout: Checkout, code: int = 0, **inputs: str) -> str:
    given = {f"inputs.{name}": value for name, value in {"base": "base", **inputs}.items()}
    done = checkout.step(steps()["trust"], **given)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_changes_tasks_are_not_run_left_out_or_added_to(checkout: Checkout) -> None:
    checkout.write("tasks/one.yaml", TASK.format(name="one").replace("mend it", "carry it off"))
    checkout.write("tasks/three.yaml", TASK.format(name="three"))
    (checkout.tree / "tasks/two.yaml").unlink()
    checkout.write("project/app.txt", "changed\n")
    checkout.commit()

    trusted(checkout)

    assert checkout.git("diff", "base", "--stat", "--", "tasks") == ""
    assert {path.name for path in (checkout.tree / "tasks").iterdir()} == {
        "one.yaml", "two.yaml", "script.yaml.txt",
    }  # fmt: skip
    assert (checkout.tree / "project/app.txt").read_text() == "changed\n"


@pytest.mark.parametrize("where", ["tasks", "."])
def test_a_link_in_the_place_of_the_tasks_is_replaced_and_what_it_leads_to_stays(
    checkout: Checkout, tmp_path: Path, where: str
) -> None:
    """`tasks` itself, and the folder above tasks that lie deeper."""
    outside = tmp_path / "outside"
    (outside / "tasks").mkdir(parents=True)
    (outside / "tasks/evil.yaml").write_text(TASK.format(name="evil"))
    place = "tasks"
    if where == ".":
        checkout.git("mv", "tasks", "moved")
        (checkout.tree / "deep").mkdir()
        checkout.git("mv", "moved", "deep/tasks")
        for name in ("one", "two"):
            text = TASK.format(name=name).replace("script.yaml", "../../script").replace("../p", "../../p")
            checkout.write(f"deep/tasks/{name}.yaml", text)
        checkout.commit()
        checkout.git("branch", "--force", "base")
        place = "deep/tasks"
    top = checkout.tree / place.split("/", maxsplit=1)[0]
    checkout.git("rm", "-rq", top.name)
    top.symlink_to(outside if where == "." else outside / "tasks")
    checkout.commit()

    trusted(checkout, tasks=place)

    assert not top.is_symlink()
    assert (checkout.tree / place / "one.yaml").is_file()
    assert [path.name for path in (outside / "tasks").iterdir()] == ["evil.yaml"]


@pytest.mark.parametrize("place", ["tasks", "tasks/deeper"])
def test_what_git_does_not_follow_is_neither_trusted_nor_run(
    checkout: Checkout, tmp_path: Path, place: str
) -> None:
    """A submodule of the change's instead of the tasks or in them, checked out, and a file beside them."""
    other = checkout_in(tmp_path / "other")
    other.write("evil.yaml", TASK.format(name="evil"))
    (other.tree / "one.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    other.commit()
    if place == "tasks":
        checkout.git("rm", "-rq", "tasks")
    checkout.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.tree), place)
    checkout.commit()
    if place != "tasks":
        checkout.write("tasks/untracked.yaml", TASK.format(name="untracked"))
    assert (checkout.tree / place / "evil.yaml").is_file()

    said = trusted(checkout)

    assert said.count("trusted tasks/") == 2
    assert sorted(path.name for path in (checkout.tree / "tasks").rglob("*")) == [
        "one.yaml", "script.yaml.txt", "two.yaml",
    ]  # fmt: skip
    assert not (checkout.tree / "tasks/one.yaml").is_symlink()
    assert not (tmp_path / "elsewhere.yaml").exists()


def test_what_the_base_lacks_is_not_taken_from_the_change(checkout: Checkout) -> None:
    checkout.write("new/three.yaml", TASK.format(name="three"))
    checkout.commit()

    for name in ("tasks", "replay", "configuration"):
        assert "the base itself holds no `new`" in trusted(checkout, code=2, **{name: "new"})

    assert (checkout.tree / "new/three.yaml").is_file()


def test_a_link_or_submodule_of_the_bases_is_not_taken_for_its_tasks(checkout: Checkout) -> None:
    """What it leads to is the change's."""
    (checkout.tree / "linked").symlink_to("tasks")
    checkout.git("update-index", "--add", "--cacheinfo", f"160000,{checkout.git('rev-parse', 'HEAD')},sub")
    checkout.commit()
    checkout.git("branch", "--force", "base")

    for place in ("linked", "linked/", "sub"):
        assert "the base itself holds no" in trusted(checkout, code=2, tasks=place)

    assert trusted(checkout, tasks="./tasks/").count("trusted tasks/") == 2


def test_filters_of_the_host_do_not_run_on_the_changes_word(checkout: Checkout, tmp_path: Path) -> None:
    """Attributes name them; git-lfs stands in both configurations, and asks a server of the change's."""
    program = tmp_path / "filter"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\ncat\n")
    program.chmod(0o755)
    keys = "".join(f"{key} = {program}\n" for key in ("smudge", "clean", "process"))
    section = f'[filter "lfs"]\n{keys}required = true\n'
    (tmp_path / "home/.gitconfig").write_text(section + section.replace("lfs", "other"))
    checkout.write(".gitattributes", "project/a* filter=lfs\nproject/b* filter=other\n")
    checkout.write("project/app.txt", "changed\n")
    checkout.write("project/b.txt", "changed\n")
    checkout.commit()
    with (checkout.tree / ".git/config").open("a") as local:
        local.write(section)

    trusted(checkout)

    assert not (tmp_path / "ran").exists()
    assert (checkout.tree / "project/app.txt").read_text() == "changed\n"
    assert (checkout.tree / "project/b.txt").read_text() == "changed\n"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [("[env]", "any", 3), ("grant: [files, exec]", "grant: [files]", 2), ("name: mend", "name: mended", 3)],
)
def test_a_change_of_a_policy_outside_of_the_tasks_folder_is_refused(
    checkout: Checkout, old: str, new: str, code: int
) -> None:
    """What was trusted is the base's policy; the twin below runs with it."""
    policy = checkout.tree / "policies/mend.yaml"
    policy.write_text(policy.read_text().replace(old, new))
    checkout.commit()

    trusted(checkout)
    done = checkout.step(steps()["run"])

    assert done.returncode == code, done.stdout + done.stderr
    assert code == 2 or "changed since it was trusted" in done.stderr
    assert not any(checkout.results().iterdir())


def test_the_operators_configuration_is_the_bases(checkout: Checkout) -> None:
    """It names programs that run on the host."""
    checkout.write("operator.yaml", "version: 1\nmodels: {default: {backend: scripted, script: x}}\n")
    checkout.commit()

    trusted(checkout, configuration="operator.yaml")

    kept = checkout.temp / "pairlock-config/pairlock/config.yaml"
    assert kept.read_text() == "version: 1\nmodels: {}\n"
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tasks", "../tasks"), ("tasks", "/etc"), ("tasks", "-x"), ("replay", "a/../../b"),
        ("base", "--upload-pack=x"), ("base", "+refs/heads/x:refs/heads/base"), ("base", "ba;se"),
        ("configuration", "/etc/passwd"),
    ],
)  # fmt: skip
def test_an_input_that_is_no_path_or_commit_is_refused(checkout: Checkout, name: str, value: str) -> None:
    before = checkout.git("rev-parse", "base")

    said = trusted(checkout, code=2, **{name: value})

    assert f"`{value}` " in said
    assert checkout.git("rev-parse", "base") == before


def test_inputs_are_no_part_of_a_script(checkout: Checkout, tmp_path: Path) -> None:
    """Text that a shell would run, in every input."""
    text = f"$(touch {tmp_path}/ran)`touch {tmp_path}/ran`;touch {tmp_path}/ran"
    names = [f"inputs.{name}" for name in loaded(ACTION)["inputs"]]
    for name in names:
        checkout.step(steps()["trust"], **{"inputs.base": "base", name: text})
    checkout.step(steps()["run"], **dict.fromkeys(names, text))

    assert not (tmp_path / "ran").exists()
    assert all("${{" not in step["run"] for step in steps().values())


def test_python_takes_no_module_of_the_changes_while_the_environment_is_made(
    checkout: Checkout, tmp_path: Path
) -> None:
    """The step's folder is the runner's own, and isolated Python looks in neither."""
    install = steps()["install"]
    first = install["run"].splitlines()[:2]
    for folder in (checkout.tree, checkout.temp):
        for name in ("venv.py", "ensurepip.py", "encodings.py"):
            (folder / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")

    done = checkout.step({**install, "run": "\n".join(first)})

    assert first == ["set -euo pipefail", "python3 -I -m venv pairlock-venv"]
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.engine
def test_the_steps_run_the_bases_tasks_on_the_change_and_no_secret_reaches_what_they_leave(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, new_state: Callable[[], Path]
) -> None:
    """The change widens what it can, and plants programs; a secret stands in the runner's environment."""
    for name in ("one", "two"):
        text = TASK.format(name=name).replace("policies/mend", "project/wide")
        checkout.write(f"tasks/{name}.yaml", text)
    checkout.write("project/wide.yaml", POLICY.replace("[sh, python3]", "any"))
    checkout.write("agent_runner/__init__.py", "raise SystemExit('the change ran')\n")
    checkout.write("project/note.txt", "of the change\n")
    checkout.commit()
    monkeypatch.setenv("DOCKER_FOR_THE_CANARY", SECRET)
    new_state().rename(checkout.temp / "pairlock-state")  # in which nothing has to be built

    said = trusted(checkout)
    step = steps()["run"]
    done = checkout.step({**step, "env": {**step["env"], "MODEL_KEY": SECRET}})

    told = said + done.stdout + done.stderr
    assert done.returncode == 0, told
    results = json.loads((checkout.results() / "results.json").read_text())
    assert [(task["name"], task["policy"], task["verdict"]) for task in results["tasks"]] == [
        ("one", "mend", "passed"), ("two", "mend", "passed"),
    ]  # fmt: skip
    assert SECRET not in told
    for path in [*checkout.results().rglob("*"), checkout.temp / "summary"]:
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()
    assert "pairlock ci: 2 passed" in (checkout.temp / "summary").read_text()


@pytest.mark.engine
def test_the_gitlab_template_runs_the_same_and_keeps_the_results_where_no_link_leads(
    checkout: Checkout, tmp_path: Path, new_state: Callable[[], Path]
) -> None:
    """The change commits a link in the place of the results."""
    job = loaded(GITLAB)["pairlock"]
    checkout.git("update-ref", "refs/remotes/origin/main", "base")
    (tmp_path / "elsewhere").mkdir()
    for left in ("pairlock", "state", "config"):
        (tmp_path / f"checkout.{left}").mkdir()
        (tmp_path / f"checkout.{left}/old").write_text("of an earlier job")
    (checkout.tree / "pairlock-results").symlink_to(tmp_path / "elsewhere")
    (checkout.tree / "tasks/two.yaml").unlink()
    checkout.commit()
    variables: Mapping[str, str] = {
        **job["variables"], "PAIRLOCK_HOME": str(REPOSITORY), "PAIRLOCK_FILTER": "two",
        "CI_PROJECT_DIR": str(checkout.tree), "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "GITHUB_ACTIONS": "", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip

    # Once the job has removed what an earlier one left, a state folder in which nothing has to be built.
    (swept,) = (
        number for number, line in enumerate(job["script"]) if "PAIRLOCK_STATE" in line and "rm " in line
    )
    script = [*job["script"]]
    script.insert(swept + 1, f'mv -T -- "{new_state()}" "$PAIRLOCK_STATE"')

    done = checkout.bash("\n".join(script), checkout.tree, variables)

    assert done.returncode == 0, done.stdout + done.stderr
    (artifact,) = job["artifacts"]["paths"]
    assert 'tests="' in (checkout.tree / job["artifacts"]["reports"]["junit"]).read_text()
    assert not (checkout.tree / artifact).is_symlink()
    assert not any((tmp_path / "elsewhere").iterdir())
    assert not [*tmp_path.glob("checkout.*/old")]


@pytest.mark.long
def test_the_install_step_makes_an_environment_that_runs_pairlock(checkout: Checkout) -> None:
    """From the locks of the action's own commit, with hashes; nothing is taken from the change."""
    (checkout.temp / "pairlock-venv/bin/pairlock").unlink()

    done = checkout.step(steps()["install"])
    trusting = checkout.step(steps()["trust"], **{"inputs.base": "base"})

    assert done.returncode == 0, done.stderr
    assert trusting.returncode == 0, trusting.stderr
    assert trusting.stdout.count("trusted tasks/") == 2


def test_actions_are_named_by_commit_and_permissions_are_least() -> None:
    workflow = loaded(REPOSITORY / "examples/ci/github.yml")

    assert workflow["permissions"] == {}
    assert workflow["jobs"]["tasks"]["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in workflow[True if True in workflow else "on"]
    for step in [*workflow["jobs"]["tasks"]["steps"], *steps().values()]:
        assert "uses" not in step or len(step["uses"].partition("@")[2]) == 40
        assert "secrets" not in json.dumps(step)


PUBLISHED = {
    "vendor.github-actions": ACTION,
    "vendor.github-workflows": REPOSITORY / "examples/ci/github.yml",
    "vendor.gitlab-ci": GITLAB,
}
"""The published schema of each file; `check-jsonschema` brings them along."""


def holds_to(schema: str, file: Path) -> bool:
    done = subprocess.run(
        [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", schema, str(file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return done.returncode == 0


@pytest.mark.parametrize(("schema", "spoilt"), [
    ("vendor.github-actions", ("using: composite", "using: composit")),
    ("vendor.github-workflows", ("runs-on:", "run-on:")),
    ("vendor.gitlab-ci", ("when: always", "when: allways")),
])  # fmt: skip
def test_each_file_holds_to_the_schema_that_its_ci_publishes(
    tmp_path: Path, schema: str, spoilt: tuple[str, str]
) -> None:
    other = tmp_path / PUBLISHED[schema].name
    other.write_text(PUBLISHED[schema].read_text().replace(*spoilt))

    assert holds_to(schema, PUBLISHED[schema])
    assert not holds_to(schema, other)


def test_what_has_to_be_replaced_is_named_and_the_rest_stands_as_it_is(tmp_path: Path) -> None:
    """The action is used by its path in this repository, and from a copy of it anywhere else."""
    text = (REPOSITORY / "examples/ci/github.yml").read_text()
    page = (REPOSITORY / "docs/ci-github.md").read_text()
    place = "YOUR-ORGANISATION/pairlock@0000000000000000000000000000000000000000"
    local = tmp_path / "local.yml"
    local.write_text(text.replace(place, "./"))

    assert (text.count(place), text.count("0" * 40), page.count("YOUR-ORGANISATION/pairlock@")) == (1, 1, 1)
    assert "uses: ./" in page
    assert (REPOSITORY / "./action.yml").is_file()
    assert holds_to("vendor.github-workflows", local)


def test_zizmor_finds_nothing_in_the_action_and_the_workflow() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "zizmor", "--offline", "--persona", "auditor", "--no-progress",
         str(ACTION), str(REPOSITORY / "examples/ci/github.yml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
