"""What a person is shown is what the session gets: network and exec, the registries, `run`, nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent_runner.errors import InvalidInputError, RefusedError
from agent_runner.images.agents import find_agent, known_agents
from agent_runner.images.building import RecipeBackend
from agent_runner.images.dockerfile import context_files, require_trusted
from agent_runner.images.making import require_reviewed
from agent_runner.images.plan import Plan, Sources, image_name, plan_agent, plan_project, policy_of
from agent_runner.images.recipes import recipe
from agent_runner.lineage import endorse, labels_of, wrote_unreviewed
from agent_runner.lineage_places import unreviewed
from cli_tools.observation import Observation
from policies.grant import Grant
from sandbox.images.reference import parse_reference
from sandbox.workspace import identity_of

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runner.images.registries import Kind

NOWHERE = Sources(index={}, hosts=(), base="")
LOCAL: dict[Kind, str] = {"pip": "http://127.0.0.2:9/simple"}


def silent(message: str, /, *, done: int, total: int) -> None:
    """Take no note of the progress."""


def planned(folder: Path, *, base: str = "") -> Plan:
    """Plan the image of a project with two packages."""
    (folder / "requirements.txt").write_text("a==1\nb==2\n")
    return plan_project(folder, Sources(index=LOCAL, hosts=("127.0.0.3:81",), base=base))


def test_the_session_that_builds_holds_network_and_exec_and_reaches_what_was_shown(tmp_path: Path) -> None:
    """With GET and HEAD only, so that the gate reads every request; private addresses as they were shown."""
    plan = planned(tmp_path)

    policy = policy_of(plan, base="pairlock/starter")

    assert policy.grant is Grant.NETWORK_EXEC
    assert policy.network is not None
    assert [(rule.host.text, rule.ports, rule.methods, rule.private) for rule in policy.network.allow] == [
        ("127.0.0.2", (9,), ("GET", "HEAD"), True),
        ("127.0.0.3", (81,), ("GET", "HEAD"), True),
    ]
    assert [command.text for command in policy.commands.allow] == ["run"]
    assert [host.address for host in plan.hosts] == ["127.0.0.2, loopback", "127.0.0.3, loopback"]


def test_the_session_is_given_the_manifests_and_no_other_file(tmp_path: Path) -> None:
    """Whatever else lies beside them."""
    (tmp_path / ".env").write_text("SECRET=1\n")
    plan = planned(tmp_path)

    files = recipe(plan.manifests, plan.registries, locked=True).files

    assert files == (("manifests/pip/requirements.txt", b"a==1\nb==2\n"),)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("App", "pairlock/for-app-"),
        ("my app!", "pairlock/for-my-app-"),
        ("___", "pairlock/for-project-"),
        ("ü" * 40, "pairlock/for-project-"),
        ("x" * 90, f"pairlock/for-{'x' * 60}-"),
    ],
)
def test_a_folders_name_becomes_an_images_name(tmp_path: Path, name: str, expected: str) -> None:
    """Of letters, digits and dashes, and with digits of its place at the end."""
    assert re.fullmatch(rf"{expected}[0-9a-f]{{12}}:latest", image_name(tmp_path / name))
    assert parse_reference(image_name(tmp_path / name)).ours


def test_two_folders_of_one_name_have_two_images(tmp_path: Path) -> None:
    """A clone called `app` must not replace the image of one's own `app`; one folder has one, by any path."""
    (tmp_path / "work" / "app").mkdir(parents=True)
    (tmp_path / "clone" / "app").mkdir(parents=True)
    (tmp_path / "link").symlink_to("work")

    own = image_name(tmp_path / "work" / "app")

    assert image_name(tmp_path / "clone" / "app") != own
    assert image_name(tmp_path / "work" / "App") != own
    assert image_name(tmp_path / "link" / "app") == own


def test_what_this_machine_cannot_install_needs_a_base(tmp_path: Path) -> None:
    """The hint says how."""
    (tmp_path / "go.mod").write_text("module x\n")
    (tmp_path / "go.sum").write_text("")

    with pytest.raises(InvalidInputError, match="need an image that has its tools") as caught:
        plan_project(tmp_path, NOWHERE)

    assert "--base golang:" in caught.value.hint


def test_a_registry_for_packages_that_the_project_does_not_have_is_refused(tmp_path: Path) -> None:
    """Nobody reads it, so somebody meant something else."""
    (tmp_path / "requirements.txt").write_text("a==1\n")

    with pytest.raises(InvalidInputError, match="`--index npm=…`"):
        plan_project(tmp_path, Sources(index={"npm": "https://x.example/"}, hosts=(), base=""))


def test_every_known_agent_has_a_version_and_a_plan() -> None:
    """Data, held to its shape; the manifest asks for exactly that version."""
    for agent in known_agents():
        plan = plan_agent(agent, Sources(index={agent.kind: "http://127.0.0.2:9/"}, hosts=(), base=""))

        assert plan.name == f"pairlock/agent-{agent.name}:latest"
        assert not plan.locked
        text = plan.manifests[0].content.decode()
        if agent.kind == "pip":
            assert text == f"{agent.package}=={agent.version}\n"
        else:
            assert json.loads(text)["dependencies"] == {agent.package: agent.version}


@pytest.mark.parametrize("left", [Grant.FILES, Grant.FILES_NETWORK, Grant.FILES_EXEC])
def test_manifests_that_may_hold_what_nobody_reviewed_make_three_with_network_and_exec(
    tmp_path: Path, left: Grant
) -> None:
    """Written in the project or in a folder of it; one that only what had no files wrote in makes two."""
    state, project, other = (tmp_path / name for name in ("state", "project", "other"))
    state.mkdir(mode=0o700)
    (project / "requirements").mkdir(parents=True)
    other.mkdir()
    held = Grant.NETWORK_EXEC.capabilities
    wrote_unreviewed(state, identity_of(other), "0123456789ab", held, why="a test")
    inside = identity_of(project / "requirements")
    wrote_unreviewed(state, inside, "123456789abc", left.capabilities, why="a test")

    with pytest.raises(RefusedError, match=r"makes three .*`123456789abc`") as caught:
        require_reviewed(project, state)
    require_reviewed(other, state)
    endorse(state, inside, unreviewed(labels_of(state), inside))
    require_reviewed(project, state)

    assert caught.value.hint.startswith(f"`pairlock review {project}` shows what they left")
    assert "grants `files` alone" not in caught.value.hint


@pytest.mark.parametrize("version", ["latest", "1 --index-url http://evil", "1;x", "^1", "v1"])
def test_a_version_is_a_version(version: str) -> None:
    """It becomes part of a file that pip reads."""
    with pytest.raises(InvalidInputError, match="is not a version"):
        find_agent("mini-swe-agent", version=version)

    assert find_agent("mini-swe-agent", version="2.0.0rc1").version == "2.0.0rc1"


def test_an_unknown_agent_is_refused_with_the_known_ones() -> None:
    """By name."""
    with pytest.raises(InvalidInputError, match="no agent `x` is known") as caught:
        find_agent("x")

    assert "mini-swe-agent" in caught.value.hint


async def test_a_recipe_stops_at_the_first_step_that_fails(tmp_path: Path) -> None:
    """Its last words are kept for the person; nothing is taken out then."""
    plan = planned(tmp_path)
    backend = RecipeBackend(recipe(plan.manifests, plan.registries, locked=True), silent)

    first = await backend.ask((), ())
    backend.saw(Observation(kind="done", text="fine", exit_code=0))
    second = await backend.ask((), ())
    backend.saw(Observation(kind="done", text="no such package", exit_code=1))
    end = await backend.ask((), ())

    lines = [getattr(reply.calls[0].proposal, "line", "") for reply in (first, second, end)]
    assert " -m pip install " in lines[1]
    assert lines[2] == "finish --status failed 'installing Python packages failed'"
    assert (backend.finished, backend.last_words) == (False, "no such package")


@pytest.mark.parametrize("kind", ["go", "cargo", "pip"])
def test_the_scripts_of_ours_are_good_shell(tmp_path: Path, kind: Kind) -> None:
    """As sh reads them."""
    files: dict[str, tuple[str, ...]] = {
        "go": ("go.mod", "go.sum"),
        "cargo": ("Cargo.toml", "Cargo.lock"),
        "pip": ("requirements.txt",),
    }
    for name in files[kind]:
        (tmp_path / name).write_text("")
    plan = plan_project(tmp_path, Sources(index={kind: LOCAL["pip"]}, hosts=(), base="base:1"))
    made = recipe(plan.manifests, plan.registries, locked=True)
    texts = [content.decode() for _, content in made.wrappers]
    texts += [step.argv[2] for step in made.steps if step.argv[:2] == ("sh", "-c")]

    assert texts
    for text in texts:
        done = subprocess.run(["/bin/sh", "-n"], input=text, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert not re.search(r"\{[a-z]", text)


def test_a_dockerfile_is_trusted_by_its_digest_alone(tmp_path: Path) -> None:
    """A link is not followed, a shorter digest is none."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    digest = "b6b29ee6b6ecba2ac2c1d9db96d43ea7a6ed0fbf4bd1b4b6e1b0ee6ac1a7c1c9"

    with pytest.raises(RefusedError, match="is not the one that you trust"):
        require_trusted(tmp_path, digest)
    with pytest.raises(InvalidInputError, match="is no digest"):
        require_trusted(tmp_path, "")
    (tmp_path / "Dockerfile").unlink()
    (tmp_path / "Dockerfile").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        require_trusted(tmp_path, digest)


def test_the_dockerfile_that_was_looked_at_is_the_one_that_is_built() -> None:
    """A second reading of it, under a manifest's name, does not take its place."""
    files = context_files(b"FROM read\n", {"Dockerfile": b"FROM swapped\n", "requirements.txt": b"a==1\n"})

    assert files == {"Dockerfile": b"FROM read\n", "requirements.txt": b"a==1\n"}
