"""Images come from a registry: pulled when missing, and told; a name that moved is refused until accepted."""

from __future__ import annotations

import secrets
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent_runner.errors import RefusedError
from sandbox.errors import ImageNotFoundError
from sandbox.images.errors import ImagePullError
from tests.promises.conftest import lab  # noqa: F401 - the fixture
from tests.promises.pairlock import pairlock
from tests.sandbox.images.made import Put, busybox, forget, image, registry, run_docker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.promises.conftest import Lab

pytestmark = pytest.mark.engine

POLICY = """
version: 1
name: pulled
grant: [exec]
exec: {{image: "{image}", programs: any}}
commands: {{allow: [run]}}
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give a registry on loopback."""
    with registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


def push(name: str, word: str) -> str:
    """Push an image whose file says a word, take it off the engine, and return its repository digest."""
    with image(*busybox(), Put("word", word.encode(), mode=0o644), name=name):
        run_docker("push", "--quiet", name)
        digest = run_docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", name)
    forget(digest)
    return digest


@pytest.fixture
def name(address: str) -> Iterator[str]:
    """Give a name in the registry that nobody has used."""
    chosen = f"{address}/app-{secrets.token_hex(4)}:stable"
    yield chosen
    forget(chosen)


def test_a_missing_image_is_pulled_and_named_in_the_ledger(lab: Lab, name: str) -> None:  # noqa: F811 - the fixture
    """By name, id and the registry's digest."""
    digest = push(name, "first")

    ran = lab.run(POLICY.format(image=name), ["run cat /word"])

    created = ran.entries("sandbox.created")[0]
    assert "first" in ran.seen[0].text
    assert (created["image_name"], created["image_repository_digest"]) == (name, digest)
    assert created["image_digest"] == run_docker("image", "inspect", "--format", "{{.Id}}", name)


def test_a_digest_is_pulled_and_stays_though_the_tag_moves(lab: Lab, name: str) -> None:  # noqa: F811 - the fixture
    """The policy's image is the same for ever."""
    digest = push(name, "first")
    push(name, "second")

    ran = lab.run(POLICY.format(image=digest), ["run cat /word"])

    assert "first" in ran.seen[0].text
    assert ran.entries("sandbox.created")[0]["image_repository_digest"] == digest
    forget(digest)


def test_a_tag_that_moved_is_refused_until_a_person_accepts_it(
    lab: Lab,  # noqa: F811 - the fixture
    name: str,
    new_state: Callable[[], Path],
) -> None:
    """Exit 3, both ids, and the way out; each acceptance is in the host's log."""
    push(name, "first")
    state = new_state()
    lab.run(POLICY.format(image=name), ["run cat /word"], state=state)
    forget(name)
    push(name, "second")

    with pytest.raises(RefusedError, match="is another image than before") as caught:
        lab.run(POLICY.format(image=name), ["run cat /word"], state=state)
    assert f"pairlock image accept {name}" in caught.value.hint
    unanswered = pairlock("image", "accept", name, state=state)
    accepted = pairlock("image", "accept", name, "--yes", state=state)
    ran = lab.run(POLICY.format(image=name), ["run cat /word"], state=state)

    assert unanswered.returncode == 2
    assert "nobody can be asked here" in unanswered.stderr
    assert accepted.returncode == 0, accepted.stderr
    assert "second" in ran.seen[0].text
    assert (state / "ledger.jsonl").read_text().count('"image.trusted"') == 2


def test_a_pull_is_told_on_stderr_and_a_moved_tag_is_exit_3(
    name: str, new_state: Callable[[], Path], tmp_path: Path
) -> None:
    """From the command line; stdout stays data."""
    push(name, "first")
    state = new_state()
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.format(image=name))
    script = tmp_path / "script.yaml"
    script.write_text("version: 1\nturns: [{actions: [run cat /word]}, {actions: [finish --status done]}]\n")
    words = ("run", "x", "--policy", str(policy), "--model", f"scripted:{script}")

    first = pairlock(*words, state=state)
    forget(name)
    push(name, "second")
    second = pairlock(*words, state=state)

    assert first.returncode == 0, first.stderr
    assert f"pulling {name}" in first.stderr
    assert "pulling" not in first.stdout
    assert second.returncode == 3
    assert "is another image than before" in second.stderr


def test_an_image_that_the_registry_does_not_have_is_named_with_the_mend(lab: Lab, address: str) -> None:  # noqa: F811 - the fixture
    """The registry's own words, in one line."""
    with pytest.raises(ImagePullError, match="could not be pulled") as caught:
        lab.run(POLICY.format(image=f"{address}/absent:1"), ["run id"])

    assert "docker pull" in caught.value.hint
    assert "\n" not in caught.value.message


def test_a_registry_that_is_down_is_named(lab: Lab) -> None:  # noqa: F811 - the fixture
    """Nothing is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        down = f"127.0.0.1:{taken.getsockname()[1]}/app:1"

        with pytest.raises(ImagePullError, match="could not be pulled") as caught:
            lab.run(POLICY.format(image=down), ["run id"])

    assert "see to it that the registry answers" in caught.value.hint


@pytest.mark.parametrize("missing", ["pairlock/for-nothing", f"sha256:{'0' * 64}"])
def test_no_registry_is_asked_for_an_image_of_ours_or_for_an_id(lab: Lab, missing: str) -> None:  # noqa: F811 - the fixture
    """Somebody else could have taken the name there."""
    with pytest.raises(ImageNotFoundError, match="no image"):
        lab.run(POLICY.format(image=missing), ["run id"])


def test_the_list_shows_a_name_that_moved(name: str, new_state: Callable[[], Path], lab: Lab) -> None:  # noqa: F811 - the fixture
    """As JSON, for programs."""
    push(name, "first")
    state = new_state()
    lab.run(POLICY.format(image=name), ["run id"], state=state)
    before = pairlock("image", "list", "--json", state=state).json()
    forget(name)
    push(name, "second")
    subprocess.run(["docker", "pull", "--quiet", name], check=True, capture_output=True, timeout=300)

    after = pairlock("image", "list", "--json", state=state).json()

    assert [row["newest"] for row in before if row["name"] == name] == ["yes"]
    assert [row["newest"] for row in after if row["name"] == name] == ["no"]
    shown = pairlock("image", "list", state=state).stdout
    assert "moved" in next(line for line in shown.splitlines() if line.startswith(name))
